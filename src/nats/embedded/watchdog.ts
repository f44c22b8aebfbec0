/** Detects a nats-server that runs but does not respond: it hangs, or was stopped by a signal. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** The consecutive checks that must fail, in addition to the timeout: the machine may have slept. */
const FAILURES_MIN = 3;
const CHECKS_PER_TIMEOUT = 5;

/**
 * Resolves with true when the server on this port has sent no INFO on new connections for this long, and with false when the signal aborts.
 * A server sends INFO at once, even while it waits for its disk.
 */
export async function untilHung(port: number, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const intervalMs = timeoutMs / CHECKS_PER_TIMEOUT;
  let failures = 0;
  let lastAnswerMs = performance.now();
  while (!signal.aborted) {
    const checkMs = performance.now();
    if (await sendsInfo(port, intervalMs, signal)) {
      lastAnswerMs = performance.now();
      failures = 0;
    } else {
      failures++;
    }
    if (failures >= FAILURES_MIN && performance.now() - lastAnswerMs >= timeoutMs) return !signal.aborted;
    const restMs = checkMs + intervalMs - performance.now();
    await delay(Math.max(0, restMs), undefined, { signal, ref: false }).catch(() => undefined);
  }
  return false;
}

async function sendsInfo(port: number, withinMs: number, signal: AbortSignal): Promise<boolean> {
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
