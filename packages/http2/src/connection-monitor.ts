/** Closes dead, slow, stalled and idle connections. Runs on a timer, so short calls pay nothing. */
import type { Connection } from "./connection.js";
import type { Http2Limits } from "./limits.js";
import { PingMonitor } from "./ping-monitor.js";
import { StallDetector } from "./stall-detector.js";
import type { RequestStream } from "./stream.js";

/** Checks per shortest timeout: each timeout may be exceeded by one interval. */
const CHECKS_PER_TIMEOUT = 8;
const CHECK_INTERVAL_MS_MAX = 2_000;
/** Time for the client to read the GOAWAY of its idle connection. */
const LINGER_MS = 1_000;

/** Checks all connections of a map until `stop`. */
export function monitorConnections(
  monitors: ReadonlyMap<Connection, ConnectionMonitor>,
  limits: Http2Limits,
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
      for (const monitor of monitors.values()) monitor.check(nowMs);
    },
    Math.min(CHECK_INTERVAL_MS_MAX, shortestMs / CHECKS_PER_TIMEOUT),
  );
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

export class ConnectionMonitor {
  private readonly stalls: StallDetector;
  private readonly pings: PingMonitor;
  private readonly openedMs = performance.now();
  private pingedMs = this.openedMs;
  /** When a check first saw each stream whose request is incomplete. */
  private readonly incompleteSinceMs = new WeakMap<RequestStream, number>();

  constructor(private readonly connection: Connection) {
    this.stalls = new StallDetector(connection.limits);
    this.pings = new PingMonitor(connection.limits.pingIntervalMs);
  }

  /** Call it when a pong arrives. */
  answered(): void {
    this.pings.answered();
  }

  check(nowMs: number): void {
    const { connection } = this;
    if (connection.isClosed) return;
    if (this.isHandshakeSlow(nowMs)) connection.destroy();
    else if (connection.streams.size === 0) this.checkIdle(nowMs);
    else this.checkBusy(nowMs);
  }

  /** Whether the preface (RFC 9113 section 3.4) or a header block takes too long. */
  private isHandshakeSlow(nowMs: number): boolean {
    const { handler, limits } = this.connection;
    const sinceMs = handler.hasSettings ? handler.blockSinceMs : this.openedMs;
    return sinceMs !== undefined && nowMs - sinceMs >= limits.headersTimeoutMs;
  }

  /** Announces the end with GOAWAY, so that clients reconnect. */
  private checkIdle(nowMs: number): void {
    const { connection } = this;
    const idleMs = nowMs - connection.idleSinceMs;
    const { idleTimeoutMs } = connection.limits;
    if (idleMs < idleTimeoutMs) return;
    connection.drain();
    // The end never comes in the middle of a header block, or if the client does not read.
    if (idleMs >= idleTimeoutMs + LINGER_MS) connection.destroy();
  }

  /** Resets slow streams and pings the client. Pings also keep idle watches alive through proxies. */
  private checkBusy(nowMs: number): void {
    const { connection } = this;
    for (const stream of connection.streams.values()) if (this.isSlow(stream, nowMs)) stream.expire();
    if (nowMs - this.pingedMs < connection.limits.pingIntervalMs) return;
    // The ping may wait behind data that the client reads slowly: anything the client sends proves that it is alive.
    if (connection.receivedMs > this.pingedMs) this.pings.answered();
    this.pingedMs = nowMs;
    const verdict = this.pings.next();
    if (verdict === "gone") connection.destroy();
    else if (verdict === "ping") connection.ping();
  }

  private isSlow(stream: RequestStream, nowMs: number): boolean {
    if (!stream.isRequestComplete) {
      const sinceMs = this.incompleteSinceMs.get(stream) ?? nowMs;
      this.incompleteSinceMs.set(stream, sinceMs);
      if (nowMs - sinceMs >= this.connection.limits.requestTimeoutMs) return true;
    }
    return this.stalls.isStalled(stream, nowMs);
  }
}
