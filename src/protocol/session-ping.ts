/** Keeps HTTP/2 sessions that are in use, finds clients that are gone without a word, and ends sessions that nobody uses. */
import type { Http2Stream, ServerHttp2Session } from "node:http2";
import type { Limits } from "../kv/limits.js";

/**
 * While streams are open the session is pinged, which also carries idle watches through proxies; a ping that is not answered by the next
 * one means that the client is gone. Without streams the session is closed after the idle time (GOAWAY: clients connect again).
 */
export function keepSessionAlive(
  session: ServerHttp2Session,
  limits: Pick<Limits, "pingIntervalMs" | "idleTimeoutMs">,
): void {
  let openStreams = 0;
  let isAnswered = true;
  session.on("stream", (stream: Http2Stream) => {
    openStreams++;
    stream.once("close", () => openStreams--);
  });
  session.setTimeout(limits.idleTimeoutMs, () => {
    if (openStreams === 0) session.close();
  });
  const timer = setInterval(() => {
    if (openStreams === 0 || session.destroyed) return;
    if (!isAnswered) {
      session.destroy();
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
