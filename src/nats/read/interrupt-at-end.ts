import { type CallContext, timeLeftMs } from "../../kv/call-context.js";
import type { Reader } from "./stream-reader.js";

/** Interrupts a reader's pull under way when the context ends. Returns what stops that. */
export function interruptAtEnd(reader: Reader, context: CallContext): () => void {
  const interrupt = (): void => reader.interrupt();
  const timer = setTimeout(interrupt, timeLeftMs(context));
  context.signal.addEventListener("abort", interrupt);
  return () => {
    clearTimeout(timer);
    context.signal.removeEventListener("abort", interrupt);
  };
}
