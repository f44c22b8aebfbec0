/** Short messages about what was done. They are read out, and go by themselves. */
import { type JSX, useSyncExternalStore } from "react";
import { Icon } from "./icons.js";

const SHOWN_MS = 5_000;

interface Message {
  readonly id: number;
  readonly text: string;
  readonly kind: "done" | "failed";
}

let messages: readonly Message[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function change(next: readonly Message[]): void {
  messages = next;
  for (const listener of listeners) listener();
}

export function toast(text: string, kind: Message["kind"] = "done"): void {
  const id = ++lastId;
  change([...messages.filter((one) => one.text !== text), { id, text, kind }]);
  setTimeout(() => change(messages.filter((one) => one.id !== id)), SHOWN_MS);
}

export function Toasts(): JSX.Element {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => messages,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map(({ id, text, kind }) => (
        <p key={id} className={`toast toast-${kind}`}>
          <Icon name={kind === "done" ? "check" : "warning"} />
          {text}
        </p>
      ))}
    </div>
  );
}
