/** Keeps HTTP/2 sessions that are in use, finds clients that are gone without a word, and ends sessions that nobody uses. */
import type { ServerHttp2Session } from "node:http2";
import type { Limits } from "../kv/limits.js";

/** How long a client may take to see that an idle session was closed. */
const GOODBYE_MS = 1_000;

/**
 * While streams are open the session is pinged, which also carries idle watches through proxies; a ping that is not answered by the next
 * one means that the client is gone. Without streams the session is closed after the idle time (GOAWAY: clients connect again).
 */
export function keepSessionAlive(
  session: ServerHttp2Session,
  limits: Pick<Limits, "pingIntervalMs" | "idleTimeoutMs">,
  hasStreams: () => boolean,
): void {
  let isAnswered = true;
  session.setTimeout(limits.idleTimeoutMs, () => {
    if (hasStreams()) return;
    session.close();
    // In the middle of a request's headers the session would wait for their end.
    setTimeout(() => session.destroy(), GOODBYE_MS).unref();
  });
  const timer = setInterval(() => {
    if (!hasStreams() || session.destroyed) return;
    if (!isAnswered) {
      // Where it was this process that had no time, the answer has come and is read first.
      setImmediate(() => {
        if (!isAnswered) session.destroy();
      });
      return;
    }
    isAnswered = false;
    session.ping(() => {
      isAnswered = true;
    });
  }, limits.pingIntervalMs);
  timer.unref();
  session.once("close", () => clearInterval(timer));
}
