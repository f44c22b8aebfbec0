/** What one connection may hold and do. Every limit applies to each connection on its own. */
export interface Http2Limits {
  /** The largest header list of a request, in bytes of names and values. Larger ones get ENHANCE_YOUR_CALM on their stream. */
  readonly headerBytesMax: number;
  /** The most concurrent streams (SETTINGS_MAX_CONCURRENT_STREAMS). Streams beyond it are refused: REFUSED_STREAM. */
  readonly streamsPerConnectionMax: number;
  /** The most stream resets per second, averaged over 30 seconds. More end the connection: ENHANCE_YOUR_CALM. */
  readonly streamResetsPerSecondMax: number;
  /** The most bytes of request bodies without a response, all streams together. The stream that exceeds it is refused: REFUSED_STREAM. */
  readonly incompleteRequestBytesMax: number;
  /**
   * The most unsent response bytes, all streams together. Above half of it, new streams are refused: REFUSED_STREAM. Above it, the stream with
   * most of them is reset: ENHANCE_YOUR_CALM.
   */
  readonly unsentResponseBytesMax: number;
  /** Time for the connection preface, and for a header block that spans frames, in milliseconds. Then the connection is closed. */
  readonly headersTimeoutMs: number;
  /** Time for a whole request, in milliseconds. Then its stream is reset: CANCEL. */
  readonly requestTimeoutMs: number;
  /** Time in which a client must read some of a response, in milliseconds. Then its stream is reset: CANCEL. */
  readonly answerTimeoutMs: number;
  /** Interval of pings while streams are open, in milliseconds. A ping unanswered by the next one closes the connection. */
  readonly pingIntervalMs: number;
  /** How long a connection without streams stays open, in milliseconds. Then it gets GOAWAY. */
  readonly idleTimeoutMs: number;
}

/** The limits that apply where a server sets none. */
export const DEFAULT_HTTP2_LIMITS: Http2Limits = Object.freeze({
  headerBytesMax: 32_768,
  streamsPerConnectionMax: 1_000,
  streamResetsPerSecondMax: 30,
  incompleteRequestBytesMax: 134_217_728,
  unsentResponseBytesMax: 134_217_728,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 60_000,
  answerTimeoutMs: 60_000,
  pingIntervalMs: 20_000,
  idleTimeoutMs: 75_000,
});
