/**
 * Keeps one HTTP/2 session from costing more than it should: requests that never end, answers that nobody takes, streams that are opened
 * only to be reset. (Floods of PING, SETTINGS, CONTINUATION and empty DATA frames end in nghttp2 and Node; test/hostile proves it.)
 */
import { constants, type Http2Stream, type ServerHttp2Session } from "node:http2";
import type { Limits } from "../kv/limits.js";
import { keepSessionAlive } from "./session-ping.js";
import { StalledWrites } from "./stalled-writes.js";

/** Resets are counted over so many seconds: cancelling a few hundred calls at once is nothing unusual. */
const RESET_WINDOW_SECONDS = 30;
/** Streams are looked at so often within the time for a request. */
const LOOKS_PER_REQUEST = 4;

export type SessionGuardLimits = Pick<
  Limits,
  | "headersTimeoutMs"
  | "requestTimeoutMs"
  | "answerTimeoutMs"
  | "streamResetsPerSecondMax"
  | "pingIntervalMs"
  | "idleTimeoutMs"
>;

export function guardSession(session: ServerHttp2Session, limits: SessionGuardLimits): void {
  const streams = new Set<Http2Stream>();
  const resets = new ResetBudget(limits.streamResetsPerSecondMax);
  session.on("stream", (stream: Http2Stream) => {
    streams.add(stream);
    stream.once("close", () => {
      streams.delete(stream);
      if (!stream.aborted && stream.rstCode === constants.NGHTTP2_NO_ERROR) return;
      // RFC 9113 section 10.5: what looks like abuse may end the connection with this code.
      if (!resets.take()) session.destroy(new Error("too many resets"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
  });
  keepSessionAlive(session, limits, () => streams.size > 0);
  expectSettings(session, limits.headersTimeoutMs);
  endSlowStreams(session, streams, limits);
}

/** The first frame must be SETTINGS (RFC 9113 section 3.4); half a preface is no session. */
function expectSettings(session: ServerHttp2Session, timeoutMs: number): void {
  const tooLate = setTimeout(() => session.destroy(), timeoutMs);
  const stop = (): void => clearTimeout(tooLate);
  session.once("remoteSettings", stop);
  session.once("close", stop);
}

/** Streams are looked at now and then, so that a call that is soon over costs nothing. */
function endSlowStreams(
  session: ServerHttp2Session,
  streams: ReadonlySet<Http2Stream>,
  limits: SessionGuardLimits,
): void {
  const stalled = new StalledWrites(limits);
  const firstSeenMs = new WeakMap<Http2Stream, number>();
  const isSlow = (stream: Http2Stream, nowMs: number): boolean => {
    const sinceMs = firstSeenMs.get(stream);
    if (sinceMs === undefined) firstSeenMs.set(stream, nowMs);
    else if (nowMs - sinceMs >= limits.requestTimeoutMs && stream.state.remoteClose === 0) return true;
    return stalled.isStalled(stream, nowMs);
  };
  const timer = setInterval(
    () => {
      const nowMs = performance.now();
      for (const stream of streams) if (isSlow(stream, nowMs)) stream.close(constants.NGHTTP2_CANCEL);
    },
    Math.min(stalled.lookIntervalMs, limits.requestTimeoutMs / LOOKS_PER_REQUEST),
  );
  timer.unref();
  session.once("close", () => clearInterval(timer));
}

/** A bucket of tokens: one for each reset, and new ones as time passes. */
class ResetBudget {
  private readonly tokensMax: number;
  private tokens: number;
  private filledMs = performance.now();

  constructor(private readonly perSecond: number) {
    this.tokensMax = perSecond * RESET_WINDOW_SECONDS;
    this.tokens = this.tokensMax;
  }

  /** False: there were too many. */
  take(): boolean {
    const nowMs = performance.now();
    const gained = ((nowMs - this.filledMs) / 1_000) * this.perSecond;
    this.tokens = Math.min(this.tokensMax, this.tokens + gained) - 1;
    this.filledMs = nowMs;
    return this.tokens >= 0;
  }
}
