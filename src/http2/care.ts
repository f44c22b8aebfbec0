/**
 * Looks after connections, so that none costs more than it should: those of clients that are gone without a word, requests that never end,
 * answers that nobody takes, connections that nobody uses. A call that is soon over costs nothing of it.
 */
import { ErrorCode } from "./codes.js";
import type { Connection, ConnectionLimits } from "./connection.js";
import { PingRounds } from "./ping-rounds.js";
import type { RequestStream } from "./stream.js";
import { StalledWrites } from "./stalled-writes.js";

/** Looks within the shortest of the times that are kept. Each may be exceeded by one interval. */
const LOOKS_PER_LIMIT = 8;
const LOOK_INTERVAL_MS_MAX = 2_000;
/** How long a client may take to see that its idle connection was closed. */
const GOODBYE_MS = 1_000;

/** Looks at all connections of a set, for as long as the process runs; `stop` ends that. */
export function careFor(
  connections: ReadonlyMap<Connection, ConnectionCare>,
  limits: ConnectionLimits,
): { stop(): void } {
  const { headersTimeoutMs, requestTimeoutMs, answerTimeoutMs, pingIntervalMs, idleTimeoutMs } = limits;
  const shortestMs = Math.min(
    headersTimeoutMs,
    requestTimeoutMs,
    answerTimeoutMs,
    pingIntervalMs,
    idleTimeoutMs,
  );
  const timer = setInterval(
    () => {
      const nowMs = performance.now();
      for (const care of connections.values()) care.look(nowMs);
    },
    Math.min(LOOK_INTERVAL_MS_MAX, shortestMs / LOOKS_PER_LIMIT),
  );
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

export class ConnectionCare {
  private readonly stalled: StalledWrites;
  private readonly pings: PingRounds;
  private readonly sinceMs = performance.now();
  private pingedMs = this.sinceMs;

  constructor(private readonly connection: Connection) {
    this.stalled = new StalledWrites(connection.limits);
    this.pings = new PingRounds(connection.limits.pingIntervalMs);
  }

  /** An answer to a ping came. */
  answered(): void {
    this.pings.answered();
  }

  look(nowMs: number): void {
    const { connection } = this;
    if (connection.isClosed) return;
    const { headersTimeoutMs } = connection.limits;
    const { hasSettings, blockSinceMs } = connection.incoming;
    // The first frame must be SETTINGS (RFC 9113 section 3.4); half a preface is no connection.
    const isSlow = hasSettings
      ? blockSinceMs !== undefined && nowMs - blockSinceMs >= headersTimeoutMs
      : this.isOld(nowMs);
    if (isSlow) connection.destroy();
    else if (connection.streams.size === 0) this.lookIdle(nowMs);
    else this.lookBusy(nowMs);
  }

  private isOld(nowMs: number): boolean {
    return nowMs - this.sinceMs >= this.connection.limits.headersTimeoutMs;
  }

  /** Without streams the connection is closed after the idle time (GOAWAY: clients connect again). */
  private lookIdle(nowMs: number): void {
    const { connection } = this;
    const idleMs = nowMs - connection.idleSinceMs;
    const { idleTimeoutMs } = connection.limits;
    if (idleMs < idleTimeoutMs) return;
    connection.leave();
    // In the middle of a request's headers, or when what was sent is not taken, its end would not come.
    if (idleMs >= idleTimeoutMs + GOODBYE_MS) connection.destroy();
  }

  /**
   * While streams are open the client is pinged, which also carries idle watches through proxies; a ping that is not answered by the next
   * one means that it is gone.
   */
  private lookBusy(nowMs: number): void {
    const { connection } = this;
    for (const stream of connection.streams.values())
      if (this.isSlow(stream, nowMs)) stream.reset(ErrorCode.cancel);
    if (nowMs - this.pingedMs < connection.limits.pingIntervalMs) return;
    // Where the client takes slowly what was sent before the ping, this may take long to reach it; what it sends says that it lives.
    if (connection.receivedMs > this.pingedMs) this.pings.answered();
    this.pingedMs = nowMs;
    const verdict = this.pings.next();
    if (verdict === "gone") connection.destroy();
    else if (verdict === "ping") connection.ping();
  }

  private isSlow(stream: RequestStream, nowMs: number): boolean {
    const { requestTimeoutMs } = this.connection.limits;
    stream.firstSeenMs ??= nowMs;
    if (!stream.isReceived && nowMs - stream.firstSeenMs >= requestTimeoutMs) return true;
    return this.stalled.isStalled(stream, nowMs);
  }
}
