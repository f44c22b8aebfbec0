/** One HTTP/2 connection to the service (RFC 9113), over node:http2. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
  type Settings,
} from "node:http2";
import { NotHttp2Error, NotProcessedError } from "../transport-errors.js";
import type { Http2Limits } from "../transport-options.js";

/** The flow-control window of a stream: the most bytes of a stream that wait here for a slow reader. */
const STREAM_WINDOW_BYTES = 1_048_576;
/** The flow-control window of the connection. Node returns its credit also for streams that wait. */
const CONNECTION_WINDOW_BYTES = 16_777_216;
/** SETTINGS_MAX_CONCURRENT_STREAMS until the server says otherwise. */
const STREAMS_BEFORE_SETTINGS = 100;
/** Errors of an endpoint that does not know HTTP/2: nghttp2's, and TLS without a common ALPN protocol. */
const NOT_HTTP2_CODES: ReadonlySet<unknown> = new Set([
  "ERR_HTTP2_ERROR",
  "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
]);

export class Connection {
  /** Streams that are not closed, and places that are reserved for streams. */
  inFlight = 0;
  /** Resolves when the connection is established; rejects with NotProcessedError if that fails. */
  readonly established: Promise<void>;
  private readonly session: ClientHttp2Session;
  private isEstablished = false;
  private hasSettings = false;
  private streamsMax = STREAMS_BEFORE_SETTINGS;
  /** The last stream that the server processes, once it sent GOAWAY. */
  private lastStreamId = Infinity;
  private error: Error | undefined;
  private isPinging = false;
  private idleSinceMs = performance.now();

  /** `onClosed` is called once, also if the connection was never established. */
  constructor(
    readonly origin: string,
    tls: SecureClientSessionOptions,
    private readonly limits: Http2Limits,
    onClosed: () => void,
  ) {
    const settings = { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES };
    const session = connect(origin, { ...tls, settings });
    this.session = session;
    const connectTimer = setTimeout(() => {
      session.destroy(new Error(`connecting took longer than ${limits.connectTimeoutMs} ms`));
    }, limits.connectTimeoutMs);
    const monitor = setInterval(() => this.check(), limits.pingIntervalMs).unref();
    session.on("error", (error: Error) => (this.error ??= error));
    session.on("goaway", (_code: number, lastStreamId: number) => (this.lastStreamId = lastStreamId));
    session.on("remoteSettings", (settings: Settings) => {
      this.hasSettings = true;
      this.streamsMax = settings.maxConcurrentStreams ?? Infinity;
    });
    session.once("close", () => {
      clearTimeout(connectTimer);
      clearInterval(monitor);
      onClosed();
    });
    this.established = new Promise((resolve, reject) => {
      session.once("connect", () => {
        clearTimeout(connectTimer);
        this.isEstablished = true;
        session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
        if (this.inFlight === 0) session.unref();
        resolve();
      });
      session.once("close", () => reject(this.connectError()));
    });
    // Calls that wait for the connection handle the error; there may be none left.
    this.established.catch(() => undefined);
  }

  /** Whether the connection is still being established. */
  get isConnecting(): boolean {
    return !this.isEstablished && !this.session.destroyed;
  }

  /** Whether new streams can be opened: false from the server's GOAWAY on. */
  get isOpen(): boolean {
    return this.isEstablished && !this.session.closed && !this.session.destroyed;
  }

  /** Whether the server accepts another stream now. Above its limit, streams wait here until others are closed. */
  get hasRoom(): boolean {
    return this.inFlight < this.streamsMax;
  }

  /** Takes the place of a stream, until `release`. The process keeps running while calls are in flight. */
  reserve(): void {
    if (this.inFlight++ === 0) this.session.ref();
  }

  /** Opens the stream of a reserved place. */
  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    return this.session.request(headers);
  }

  release(): void {
    if (--this.inFlight > 0) return;
    this.idleSinceMs = performance.now();
    this.session.unref();
  }

  /** Whether the server has sent its SETTINGS, and with them how many streams it accepts. */
  get knowsLimits(): boolean {
    return this.hasSettings;
  }

  /** Whether the server says that it did not process a closed stream: RFC 9113 sections 6.8 and 8.7. */
  wasRefused(stream: ClientHttp2Stream): boolean {
    return stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || (stream.id ?? 0) > this.lastStreamId;
  }

  /** Why a stream failed: the connection's error, if it has one. The streams get that error before the connection does. */
  failureOf(streamError: Error | undefined): Error | undefined {
    const error = this.error ?? streamError;
    return this.isNotHttp2(error) ? this.connectError(error) : error;
  }

  /** Closes the connection unless the server answers a ping in time. */
  verify(): void {
    if (this.isPinging || !this.isOpen) return;
    this.isPinging = true;
    const { pingTimeoutMs } = this.limits;
    const timer = setTimeout(() => {
      // After a pause of this process, its socket is read before this runs.
      setImmediate(() => {
        if (!this.isPinging) return;
        this.session.destroy(new Error(`the server did not answer a ping within ${pingTimeoutMs} ms`));
      });
    }, pingTimeoutMs).unref();
    this.session.ping(() => {
      this.isPinging = false;
      clearTimeout(timer);
    });
  }

  private check(): void {
    if (this.inFlight > 0) this.verify();
    else if (this.isOpen && performance.now() - this.idleSinceMs >= this.limits.idleTimeoutMs) {
      this.session.close();
    }
  }

  /** Whether the server's first bytes were not HTTP/2: then it can't have processed anything. */
  private isNotHttp2(error: Error | undefined): boolean {
    return !this.hasSettings && NOT_HTTP2_CODES.has((error as { code?: unknown } | undefined)?.code);
  }

  private connectError(error = this.error): Error {
    if (this.isNotHttp2(error)) {
      return new NotHttp2Error(`${this.origin} does not speak HTTP/2`, { cause: error });
    }
    return new NotProcessedError(error?.message || "the connection was closed", { cause: error });
  }
}
