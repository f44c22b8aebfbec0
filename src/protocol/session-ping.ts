/** Keeps HTTP/2 sessions that are in use, finds clients that are gone without a word, and ends sessions that nobody uses. */
import type { ServerHttp2Session } from "node:http2";
import type { Limits } from "../kv/limits.js";
import { PingRounds } from "./ping-rounds.js";

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
  const rounds = new PingRounds(limits.pingIntervalMs);
  session.setTimeout(limits.idleTimeoutMs, () => {
    if (hasStreams()) return;
    session.close();
    // In the middle of a request's headers the session would wait for their end.
    setTimeout(() => session.destroy(), GOODBYE_MS).unref();
  });
  const timer = setInterval(() => {
    if (!hasStreams() || session.destroyed) return;
    const verdict = rounds.next();
    if (verdict === "gone") session.destroy();
    else if (verdict === "ping") session.ping(() => rounds.answered());
  }, limits.pingIntervalMs);
  timer.unref();
  session.once("close", () => clearInterval(timer));
}
