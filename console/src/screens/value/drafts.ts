/**
 * Values that are being edited. A draft outlives its screen: it is there again when the user comes back from another key, and nothing that happens to
 * the key, the bucket or the session removes it. Logging out does; leaving the page asks first.
 */
import type { Entry } from "@ironflow-kv/client/gen";
import { useSyncExternalStore } from "react";
import { onLogOut } from "../../api/session.js";
import type { EntryOptions } from "./entry-options.js";
import type { Format } from "./formats.js";

export interface Draft {
  /** The entry that the edit began with. */
  readonly base: Entry;
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
  return { draft, setDraft };
}

onLogOut(() => {
  drafts.clear();
  notify();
});

addEventListener("beforeunload", (event) => {
  if ([...drafts.values()].some(({ isChanged }) => isChanged)) event.preventDefault();
});
