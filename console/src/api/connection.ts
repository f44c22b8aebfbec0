/** Whether the service can be reached. While it can't, screens keep their data, and this asks until it answers again. */
import { useSyncExternalStore } from "react";

const PROBE_INTERVAL_MS = 1_000;

let isAway = false;
let timer: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();
const returnListeners = new Set<() => void>();

/** A call got no response. */
export function markAway(): void {
  if (isAway) return;
  isAway = true;
  timer = setInterval(() => void probe(), PROBE_INTERVAL_MS);
  notify(listeners);
}

/** The service answered a call. */
export function markBack(): void {
  if (!isAway) return;
  isAway = false;
  clearInterval(timer);
  notify(listeners);
  notify(returnListeners);
}

/** Calls the listener each time the service can be reached again. Returns a function that removes it. */
export function onBack(listener: () => void): () => void {
  returnListeners.add(listener);
  return () => returnListeners.delete(listener);
}

export function useIsAway(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => isAway,
  );
}

async function probe(): Promise<void> {
  try {
    const { ok } = await fetch("/readyz", { cache: "no-store" });
    if (ok) markBack();
  } catch {
    // Still away.
  }
}

function notify(all: ReadonlySet<() => void>): void {
  for (const listener of [...all]) listener();
}
