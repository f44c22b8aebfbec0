/** The keys of a bucket: search, list, selection, and whether changes are shown as they happen. */
import { type JSX, useRef, useState } from "react";
import type { Denials } from "../buckets/denials.js";
import { KeyList } from "../../live/key-list.js";
import { isNode, type KeyTree } from "../../live/key-tree.js";
import { useLiveKeysState } from "../../live/use-live-keys.js";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { formatCount, formatKeys } from "../../ui/format.js";
import { SearchBox } from "../../ui/search-box.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { Notice } from "../../ui/states.js";
import { DeleteMany } from "./delete-many.js";
import { DeleteMatching } from "./delete-matching.js";
import { FirstPage } from "./first-page.js";
import { KeyRows } from "./key-rows.js";
import { type KeyShape, ListOptions } from "./list-options.js";
import { LiveSwitch } from "./live-switch.js";
import { TreeRows } from "./tree-rows.js";
import type { ScrollPlace } from "./use-scroll-place.js";

export interface KeysPaneProps {
  readonly bucket: string;
  readonly keys: KeyList | KeyTree;
  readonly shape: KeyShape;
  readonly onShape: (shape: KeyShape) => void;
  /** The open groups of the tree, see `open-groups.ts`. */
  readonly groups: string;
  readonly onGroups: (groups: string) => void;
  readonly place: ScrollPlace;
  readonly total: bigint | undefined;
  /** The size of the bucket. */
  readonly bytes: bigint | undefined;
  readonly find: string;
  readonly onFind: (find: string) => void;
  readonly openKey: string | undefined;
  readonly onOpen: (key: string) => void;
  readonly onNew: () => void;
  readonly denials: Denials;
}

export function KeysPane(props: KeysPaneProps): JSX.Element {
  const { bucket, keys, shape, onShape, groups, onGroups, place } = props;
  const { total, bytes, find, onFind, openKey, onOpen, onNew, denials } = props;
  const [selection, setSelection] = useState<ReadonlySet<string>>(new Set());
  const [deleting, setDeleting] = useState<"selected" | "matching">();
  const search = useRef<HTMLInputElement>(null);
  useShortcuts({ "/": () => search.current?.focus(), n: onNew });
  const state = useLiveKeysState(keys);
  const list = keys instanceof KeyList ? keys : undefined;
  const count = keys instanceof KeyList ? keys.keys.length : keys.rows().filter(isNode).length;
  const isEmpty = count === 0 && state.isComplete;
  return (
    <section className="keys" aria-label={`Keys of ${bucket}`}>
      <div className="toolbar">
        <SearchBox
          label="Search keys"
          placeholder="Search keys"
          value={find}
          onChange={onFind}
          inputRef={search}
        />
        <Button variant="primary" icon="plus" reason={denials.write} onPress={onNew}>
          New key
        </Button>
      </div>
      <ListOptions shape={shape} onChange={onShape} />
      {selection.size > 0 && (
        <div className="toolbar selection-bar" role="region" aria-label="Selected keys">
          <span>{formatKeys(selection.size)} selected</span>
          <span className="spacer" />
          <Button variant="quiet" onPress={() => setSelection(new Set())}>
            Clear
          </Button>
          <Button
            variant="danger"
            icon="trash"
            reason={denials.write}
            onPress={() => setDeleting("selected")}
          >
            Delete
          </Button>
        </div>
      )}
      {state.error !== undefined && (
        <Notice>
          {sentenceOf(state.error)}{" "}
          <Button variant="quiet" onPress={() => keys.retry()}>
            Try again
          </Button>
        </Notice>
      )}
      {count === 0 && state.isLoading && <FirstPage bytes={bytes} />}
      {isEmpty && (
        <p className="no-rows soft">
          {find === "" ? "The bucket has no keys yet." : `No key matches “${find}”.`}{" "}
          {find !== "" &&
            "A plain text finds keys that begin with it; * stands for any characters of a part, > for all further parts."}
        </p>
      )}
      {!(keys instanceof KeyList) && count > 0 && (
        <TreeRows
          tree={keys}
          groups={groups}
          onGroups={onGroups}
          place={place}
          openKey={openKey}
          onOpen={onOpen}
        />
      )}
      {list !== undefined && count > 0 && (
        <KeyRows
          list={list}
          place={place}
          openKey={openKey}
          selection={selection}
          onOpen={onOpen}
          onSelect={setSelection}
        />
      )}
      <footer className="keys-footer">
        <span className="number" role="status">
          {countText(list, find === "" ? total : undefined)}
        </span>
        {list?.hasAll("before") === false && count > 0 && (
          <Button variant="quiet" onPress={() => void list.jump("first")}>
            First key
          </Button>
        )}
        {list !== undefined && !state.isComplete && count > 0 && (
          <Button variant="quiet" onPress={() => void list.loadAll()}>
            Load all
          </Button>
        )}
        {find !== "" && count > 0 && (
          <Button
            variant="quiet"
            icon="trash"
            label="Delete all keys that match"
            reason={denials.write}
            onPress={() => setDeleting("matching")}
          />
        )}
        <span className="spacer" />
        <LiveSwitch keys={keys} />
      </footer>
      <DeleteMany
        bucket={bucket}
        keys={[...selection]}
        isOpen={deleting === "selected"}
        onClose={() => setDeleting(undefined)}
        onDone={() => {
          setDeleting(undefined);
          setSelection(new Set());
        }}
      />
      <DeleteMatching
        bucket={bucket}
        find={find}
        isOpen={deleting === "matching"}
        onClose={() => setDeleting(undefined)}
      />
    </section>
  );
}

/** `total`: the keys of the bucket, if all of them match. A tree does not count what is below its groups. */
function countText(list: KeyList | undefined, total: bigint | undefined): string {
  if (list?.state.isComplete === true) return formatKeys(list.keys.length);
  if (list === undefined) return total === undefined ? "" : formatKeys(total);
  const loaded = `${formatCount(list.keys.length)} loaded`;
  return total === undefined ? loaded : `${loaded} of ${formatCount(total)}`;
}
