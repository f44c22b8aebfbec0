import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { Bucket } from "@ironflow-kv/client/gen";
import { type JSX, useRef } from "react";
import { useMayCreateBuckets } from "../../api/access.js";
import { useBuckets } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { formatBytes, formatCount } from "../../ui/format.js";
import { SearchBox } from "../../ui/search-box.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { Loading, Notice } from "../../ui/states.js";
import { BucketForm } from "./bucket-form.js";
import { revisionsOf, ttlOf } from "./bucket-facts.js";
import { FirstBucket } from "./first-bucket.js";

export function BucketsScreen(): JSX.Element {
  const { find = "", create } = useSearch({ from: "/buckets" });
  const navigate = useNavigate();
  const search = useRef<HTMLInputElement>(null);
  const { data, error, isPending } = useBuckets();
  const reason = useMayCreateBuckets()
    ? undefined
    : "This API key may not create buckets: it needs the scope admin on their names.";
  const setCreating = (isCreating: boolean): void =>
    void navigate({ to: "/buckets", search: { find, ...(isCreating ? { create: "bucket" } : {}) } });
  const setFind = (text: string): void =>
    void navigate({ to: "/buckets", search: { find: text }, replace: true });
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
      {found !== undefined && found.length > 0 && <BucketTable buckets={found} />}
      {found?.length === 0 && data?.buckets.length !== 0 && (
        <p className="soft">No bucket matches “{find}”.</p>
      )}
      {data !== undefined && data.nextPageToken !== "" && (
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

function BucketTable({ buckets }: { readonly buckets: readonly Bucket[] }): JSX.Element {
  return (
    <div className="table-wrap card">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Bucket</th>
            <th scope="col" className="end">
              Keys
            </th>
            <th scope="col" className="end">
              Size
            </th>
            <th scope="col">Entries live</th>
            <th scope="col">History</th>
            <th scope="col" className="end">
              Limit
            </th>
          </tr>
        </thead>
        <tbody>
          {buckets.map((bucket) => (
            <tr key={bucket.name}>
              <th scope="row">
                <Link to="/buckets/$bucket" params={{ bucket: bucket.name }} className="row-link">
                  {bucket.name}
                </Link>
                {bucket.description !== "" && <span className="soft row-note">{bucket.description}</span>}
              </th>
              <td className="end number">{formatCount(bucket.values)}</td>
              <td className="end number">{formatBytes(bucket.bytes)}</td>
              <td>{ttlOf(bucket)}</td>
              <td>{revisionsOf(bucket)}</td>
              <td className="end number">{bucket.maxBytes === 0n ? "none" : formatBytes(bucket.maxBytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
