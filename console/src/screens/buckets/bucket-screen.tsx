/** One bucket: its keys on the left, the open key on the right. */
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { type JSX, useCallback, useState } from "react";
import { useBucket } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { refreshKey } from "../../api/key-queries.js";
import { useKeyList } from "../../live/use-key-list.js";
import { Notice } from "../../ui/states.js";
import { KeysPane } from "../keys/keys-pane.js";
import { NewKeyDialog } from "../keys/new-key-dialog.js";
import { ValuePane } from "../value/value-pane.js";
import { BucketActions } from "./bucket-actions.js";
import { BucketFacts } from "./bucket-facts.js";
import { useDenials } from "./denials.js";

export function BucketScreen(): JSX.Element {
  const { bucket } = useParams({ from: "/buckets/$bucket" });
  const { find = "", key, view } = useSearch({ from: "/buckets/$bucket" });
  const navigate = useNavigate();
  const [isCreating, setIsCreating] = useState(false);
  const denials = useDenials(bucket);
  const { data, error } = useBucket(bucket);
  const onChanges = useCallback(
    (changes: readonly WatchResponse_Change[]) => {
      if (key !== undefined && changes.some(({ entry }) => entry?.key === key)) void refreshKey(bucket, key);
    },
    [bucket, key],
  );
  const list = useKeyList(bucket, find, onChanges);
  const go = (search: { find?: string; key?: string; view?: string }, replace = false): void =>
    void navigate({ to: "/buckets/$bucket", params: { bucket }, search, replace });
  const found = find === "" ? {} : { find };

  return (
    <div className={`bucket ${key === undefined ? "" : "has-key"}`}>
      <header className="bucket-head">
        <nav className="crumbs" aria-label="Path">
          <Link to="/buckets">Buckets</Link>
          <span aria-hidden="true">/</span>
        </nav>
        <h1>{bucket}</h1>
        <span className="spacer" />
        <BucketActions name={bucket} bucket={data?.bucket} reason={denials.admin} />
        {data?.bucket !== undefined && <BucketFacts bucket={data.bucket} />}
      </header>
      {error !== null && <Notice>{sentenceOf(error)}</Notice>}
      <div className="panes">
        <KeysPane
          key={bucket}
          bucket={bucket}
          list={list}
          total={data?.bucket?.values}
          find={find}
          onFind={(text) =>
            go({ ...(text === "" ? {} : { find: text }), ...(key === undefined ? {} : { key }) }, true)
          }
          openKey={key}
          onOpen={(opened) => go({ ...found, key: opened })}
          onNew={() => {
            if (denials.write === undefined) setIsCreating(true);
          }}
          denials={denials}
        />
        {key === undefined ? (
          <p className="pane-hint soft">
            Choose a key to see its value. Keyboard: <kbd>/</kbd> search, <kbd>n</kbd> new key, arrows and{" "}
            <kbd>Enter</kbd> to open, <kbd>Space</kbd> to select.
          </p>
        ) : (
          <ValuePane
            key={key}
            bucket={bucket}
            name={key}
            view={view === "history" ? "history" : "value"}
            onView={(next) => go({ ...found, key, ...(next === "history" ? { view: next } : {}) }, true)}
            mayExpire={data?.bucket?.history === 1}
            onClose={() => go(found)}
            denials={denials}
          />
        )}
      </div>
      <NewKeyDialog
        bucket={bucket}
        mayExpire={data?.bucket?.history === 1}
        isOpen={isCreating}
        onClose={() => setIsCreating(false)}
        onCreated={(created) => {
          setIsCreating(false);
          go({ ...found, key: created });
        }}
      />
    </div>
  );
}
