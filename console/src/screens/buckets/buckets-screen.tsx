import { useNavigate, useSearch } from "@tanstack/react-router";
import { type JSX, useRef } from "react";
import { useMayCreateBuckets } from "../../api/access.js";
import { useBuckets } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { formatCount } from "../../ui/format.js";
import { SearchBox } from "../../ui/search-box.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { Loading, Notice } from "../../ui/states.js";
import { BucketForm } from "./bucket-form.js";
import { BucketTable } from "./bucket-table.js";
import { FirstBucket } from "./first-bucket.js";

export function BucketsScreen(): JSX.Element {
  const { find = "", create, sort } = useSearch({ from: "/buckets" });
  const navigate = useNavigate();
  const search = useRef<HTMLInputElement>(null);
  const { data, error, isPending } = useBuckets();
  const reason = useMayCreateBuckets()
    ? undefined
    : "This API key may not create buckets: it needs the scope admin on their names.";
  const setCreating = (isCreating: boolean): void =>
    void navigate({ to: "/buckets", search: { find, sort, ...(isCreating ? { create: "bucket" } : {}) } });
  const setFind = (text: string): void =>
    void navigate({ to: "/buckets", search: { find: text, sort }, replace: true });
  useShortcuts({
    "/": () => search.current?.focus(),
    n: () => {
      if (reason === undefined) setCreating(true);
    },
  });
  const found = data?.buckets.filter(({ name, description }) =>
    `${name} ${description}`.toLowerCase().includes(find.toLowerCase()),
  );
  return (
    <div className="page">
      <header className="page-head">
        <h1>Buckets</h1>
        <span className="spacer" />
        {data !== undefined && data.buckets.length > 0 && (
          <>
            <SearchBox
              label="Search buckets"
              placeholder="Search buckets"
              value={find}
              onChange={setFind}
              inputRef={search}
            />
            <Button variant="primary" icon="plus" reason={reason} onPress={() => setCreating(true)}>
              New bucket
            </Button>
          </>
        )}
      </header>
      {isPending && <Loading what="the buckets" />}
      {error !== null && <Notice>{sentenceOf(error)}</Notice>}
      {data?.buckets.length === 0 && <FirstBucket reason={reason} onCreate={() => setCreating(true)} />}
      {found !== undefined && found.length > 0 && (
        <BucketTable
          buckets={found}
          keys={data?.keys ?? new Map()}
          sort={sort}
          onSort={(next) => void navigate({ to: "/buckets", search: { find, sort: next }, replace: true })}
        />
      )}
      {found?.length === 0 && data?.buckets.length !== 0 && (
        <p className="soft">No bucket matches “{find}”.</p>
      )}
      {data?.hasMore === true && (
        <Notice kind="info">Only the first {formatCount(data.buckets.length)} buckets are shown.</Notice>
      )}
      <BucketForm
        isOpen={create !== undefined}
        onClose={() => setCreating(false)}
        onDone={(name) => void navigate({ to: "/buckets/$bucket", params: { bucket: name } })}
      />
    </div>
  );
}
