/** The keys of a bucket: search, list, selection, and whether changes are shown as they happen. */
import { type JSX, useRef, useState } from "react";
import type { Denials } from "../buckets/denials.js";
import type { KeyList } from "../../live/key-list.js";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { formatCount, formatKeys } from "../../ui/format.js";
import { SearchBox } from "../../ui/search-box.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { Loading, Notice } from "../../ui/states.js";
import { DeleteMany } from "./delete-many.js";
import { KeyRows } from "./key-rows.js";
import { LiveSwitch } from "./live-switch.js";

export interface KeysPaneProps {
  readonly bucket: string;
  readonly list: KeyList;
  readonly total: bigint | undefined;
  readonly find: string;
  readonly onFind: (find: string) => void;
  readonly openKey: string | undefined;
  readonly onOpen: (key: string) => void;
  readonly onNew: () => void;
  readonly denials: Denials;
}

export function KeysPane(props: KeysPaneProps): JSX.Element {
  const { bucket, list, total, find, onFind, openKey, onOpen, onNew, denials } = props;
  const [selection, setSelection] = useState<ReadonlySet<string>>(new Set());
  const [isDeleting, setIsDeleting] = useState(false);
  const search = useRef<HTMLInputElement>(null);
  useShortcuts({ "/": () => search.current?.focus(), n: onNew });
  const { keys, state } = list;
  const isEmpty = keys.length === 0 && state.isComplete;
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
      {selection.size > 0 && (
        <div className="toolbar selection-bar" role="region" aria-label="Selected keys">
          <span>{formatKeys(selection.size)} selected</span>
          <span className="spacer" />
          <Button variant="quiet" onPress={() => setSelection(new Set())}>
            Clear
          </Button>
          <Button variant="danger" icon="trash" reason={denials.write} onPress={() => setIsDeleting(true)}>
            Delete
          </Button>
        </div>
      )}
      {state.error !== undefined && <Notice>{sentenceOf(state.error)}</Notice>}
      {keys.length === 0 && state.isLoading && <Loading what="the keys" />}
      {isEmpty && (
        <p className="no-rows soft">
          {find === "" ? "The bucket has no keys yet." : `No key matches “${find}”.`}{" "}
          {find !== "" &&
            "A plain text finds keys that begin with it; * stands for any characters of a part, > for all further parts."}
        </p>
      )}
      {keys.length > 0 && (
        <KeyRows
          list={list}
          openKey={openKey}
          selection={selection}
          onOpen={onOpen}
          onSelect={setSelection}
        />
      )}
      <footer className="keys-footer">
        <span className="number" role="status">
          {state.isComplete
            ? formatKeys(keys.length)
            : `${formatCount(keys.length)} loaded${find === "" && total !== undefined ? ` of ${formatCount(total)}` : ""}`}
        </span>
        {!state.isComplete && keys.length > 0 && (
          <Button variant="quiet" onPress={() => void list.loadAll()}>
            Load all
          </Button>
        )}
        <span className="spacer" />
        <LiveSwitch list={list} />
      </footer>
      <DeleteMany
        bucket={bucket}
        keys={[...selection]}
        isOpen={isDeleting}
        onClose={() => setIsDeleting(false)}
        onDone={() => {
          setIsDeleting(false);
          setSelection(new Set());
        }}
      />
    </section>
  );
}
