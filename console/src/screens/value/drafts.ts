/**
 * Values that are being edited. A draft outlives its screen: it is there again when the user comes back from another key, and nothing that happens to
 * the key, the bucket or the session removes it. Logging out does; leaving the page asks first.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Entry } from "@ironflow-kv/client/gen";
import { useSyncExternalStore } from "react";
import { onLogOut } from "../../api/session.js";
import type { EntryOptions } from "./entry-options.js";
import type { Format } from "./formats.js";

export interface Draft {
  /** The entry that the edit began with. */
  readonly base: Entry;
  /** When the bucket of that entry was created: one that is recreated has the same revisions again. */
  readonly bucketCreatedAt: Timestamp | undefined;
  readonly form: Format;
  readonly text: string;
  readonly options: EntryOptions;
  /** Whether the user changed something. */
  readonly isChanged: boolean;
}

const drafts = new Map<string, Draft>();
const listeners = new Set<() => void>();

function notify(): void {
  for (const listener of [...listeners]) listener();
}

export interface DraftStore {
  readonly draft: Draft | undefined;
  /** Undefined: ends the edit. */
  readonly setDraft: (draft: Draft | undefined) => void;
  /** Ends the edit, unless the user has changed something since `saved`: then it continues, with what was saved as its base. */
  readonly endDraft: (saved: Draft) => void;
}

/** The draft of a key. */
export function useDraft(environment: string, bucket: string, key: string): DraftStore {
  const id = JSON.stringify([environment, bucket, key]);
  const draft = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => drafts.get(id),
  );
  const setDraft = (next: Draft | undefined): void => {
    if (next === undefined) drafts.delete(id);
    else drafts.set(id, next);
    notify();
  };
  const endDraft = (saved: Draft): void => {
    const now = drafts.get(id);
    const isSame = now?.text === saved.text && now.form === saved.form && now.options === saved.options;
    setDraft(
      now === undefined || isSame
        ? undefined
        : { ...now, base: saved.base, bucketCreatedAt: saved.bucketCreatedAt },
    );
  };
  return { draft, setDraft, endDraft };
}

onLogOut(() => {
  drafts.clear();
  notify();
});

addEventListener("beforeunload", (event) => {
  if ([...drafts.values()].some(({ isChanged }) => isChanged)) event.preventDefault();
});
