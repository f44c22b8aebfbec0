/** Tells when a nats-server that runs does not answer any more: it was stopped by a signal, or something in it hangs. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Looks in a row that must fail, however little time passes between: the machine may have slept. */
const FAILURES_MIN = 3;
const LOOKS_PER_TIMEOUT = 5;

/**
 * Resolves with true when the server on this port has not greeted a new connection for so long, and with false when the signal aborts. A
 * server greets at once, whatever else it does: it does not wait for its disk then.
 */
export async function untilHung(port: number, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const intervalMs = timeoutMs / LOOKS_PER_TIMEOUT;
  let failures = 0;
  let lastAnswerMs = performance.now();
  while (!signal.aborted) {
    const lookMs = performance.now();
    if (await greets(port, intervalMs, signal)) {
      lastAnswerMs = performance.now();
      failures = 0;
    } else {
      failures++;
    }
    if (failures >= FAILURES_MIN && performance.now() - lastAnswerMs >= timeoutMs) return !signal.aborted;
    const restMs = lookMs + intervalMs - performance.now();
    await delay(Math.max(0, restMs), undefined, { signal, ref: false }).catch(() => undefined);
  }
  return false;
}

async function greets(port: number, withinMs: number, signal: AbortSignal): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "data", { signal: AbortSignal.any([signal, AbortSignal.timeout(withinMs)]) });
    return true;
  } catch {
    return false;
  } finally {
    socket.on("error", () => undefined).destroy();
  }
}
