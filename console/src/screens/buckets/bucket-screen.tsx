/** One bucket: its keys on the left, the open key on the right. */
import { Code } from "@connectrpc/connect";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { type JSX, useEffect, useMemo } from "react";
import { useBucket } from "../../api/bucket-queries.js";
import { hasCode, sentenceOf } from "../../api/errors.js";
import { refreshKey } from "../../api/key-queries.js";
import { throttled } from "../../live/throttle.js";
import { useLiveKeys } from "../../live/use-live-keys.js";
import { Notice } from "../../ui/states.js";
import { shapeOf } from "../keys/list-options.js";
import { KeysPane } from "../keys/keys-pane.js";
import { NewKeyDialog } from "../keys/new-key-dialog.js";
import { ValuePane } from "../value/value-pane.js";
import { BucketActions } from "./bucket-actions.js";
import { BucketFacts } from "./bucket-facts.js";
import { useDenials } from "./denials.js";

/** How often an open value that others change is read again. */
const REFRESH_INTERVAL_MS = 250;

/** What the address says besides the bucket. */
interface BucketSearch {
  readonly find?: string | undefined;
  readonly sort?: string | undefined;
  /** The open groups of the tree, see `open-groups.ts`. */
  readonly open?: string | undefined;
  /** The first visible key or group. Absent: the list is at its top. */
  readonly at?: string | undefined;
  readonly key?: string | undefined;
  readonly view?: string | undefined;
  /** The form in which the value is shown. */
  readonly form?: string | undefined;
  /** The two revisions that the history compares. */
  readonly newer?: string | undefined;
  readonly older?: string | undefined;
  readonly dialog?: "new-key" | "settings" | undefined;
}

/** Another key is shown as it is by default. */
const NO_VIEW = {
  view: undefined,
  form: undefined,
  newer: undefined,
  older: undefined,
} as const satisfies BucketSearch;

export function BucketScreen(): JSX.Element {
  const { bucket } = useParams({ from: "/buckets/$bucket" });
  const {
    find = "",
    sort,
    open = "",
    at,
    key,
    view,
    form,
    newer,
    older,
    dialog,
  } = useSearch({ from: "/buckets/$bucket" });
  const navigate = useNavigate();
  const denials = useDenials(bucket);
  const { bucket: facts, keys: keyCount, error } = useBucket(bucket);
  const refresh = useMemo(
    () => throttled(() => void refreshKey(bucket, key ?? ""), REFRESH_INTERVAL_MS),
    [bucket, key],
  );
  const onChanges = (changes: readonly WatchResponse_Change[]): void => {
    if (changes.some(({ entry }) => entry?.key === key)) refresh();
  };
  const shape = shapeOf(sort);
  const keys = useLiveKeys(bucket, find, shape, at, onChanges, refresh);
  /** Whether the service has never shown this bucket. One that is deleted while it is open stays visible. */
  const isUnknown = facts === undefined && hasCode(error, Code.NotFound);
  useEffect(() => {
    // It has been created since.
    if (!isUnknown) keys.retry();
  }, [isUnknown, keys]);
  /** Changes part of the address. */
  const go = (change: BucketSearch, replace = false): void =>
    void navigate({
      to: "/buckets/$bucket",
      params: { bucket },
      search: (search) => ({ ...search, ...change }),
      replace,
    });

  return (
    <div className={`bucket ${key === undefined ? "" : "has-key"}`}>
      <header className="bucket-head">
        <nav className="crumbs" aria-label="Path">
          <Link to="/buckets">Buckets</Link>
          <span aria-hidden="true">/</span>
        </nav>
        <h1>{bucket}</h1>
        <span className="spacer" />
        <BucketActions
          name={bucket}
          bucket={facts}
          keys={keyCount}
          reason={denials.admin}
          isSettingsOpen={dialog === "settings"}
          onSettings={(isOpen) => go({ dialog: isOpen ? "settings" : undefined })}
        />
        {facts !== undefined && <BucketFacts bucket={facts} keys={keyCount} />}
      </header>
      {error !== null && (
        <Notice>
          {sentenceOf(error)} {isUnknown && <Link to="/buckets">Show all buckets</Link>}
        </Notice>
      )}
      <div className="panes" hidden={isUnknown}>
        <KeysPane
          key={bucket}
          bucket={bucket}
          keys={keys}
          shape={shape}
          onShape={(next) =>
            go({ sort: next === "ascending" ? undefined : next, open: undefined, at: undefined }, true)
          }
          groups={open}
          onGroups={(groups) => go({ open: groups }, true)}
          place={{ at, onAt: (next) => go({ at: next }, true) }}
          total={keyCount}
          bytes={facts?.bytes}
          find={find}
          onFind={(text) => go({ find: text, at: undefined }, true)}
          openKey={key}
          onOpen={(opened) => go({ ...NO_VIEW, key: opened })}
          onNew={() => {
            if (denials.write === undefined) go({ dialog: "new-key" });
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
            onView={(next) => go({ ...NO_VIEW, form, view: next === "history" ? next : undefined }, true)}
            form={form}
            onForm={(next) => go({ form: next }, true)}
            compared={{ newer, older }}
            onCompare={(revisions) => go(revisions, true)}
            mayExpire={facts?.history === 1}
            onClose={() => go({ ...NO_VIEW, key: undefined })}
            denials={denials}
          />
        )}
      </div>
      <NewKeyDialog
        bucket={bucket}
        mayExpire={facts?.history === 1}
        isOpen={dialog === "new-key" && denials.write === undefined}
        onClose={() => go({ dialog: undefined })}
        onCreated={(created) => go({ ...NO_VIEW, key: created, dialog: undefined })}
      />
    </div>
  );
}
