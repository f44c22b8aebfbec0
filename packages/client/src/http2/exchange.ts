/** A request and its response on an HTTP/2 stream: deadline, cancellation, and the one rule by which a request is sent again. */
import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
} from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { NotProcessedError } from "../transport-errors.js";
import type { Connection } from "./connection.js";
import type { ConnectionPool } from "./connection-pool.js";

/** How often a request is sent if the server says that it did not process it. */
const SENDINGS_MAX = 3;

export type ResponseHeaders = IncomingHttpHeaders & IncomingHttpStatusHeader;

/** What a call asks for. */
export interface ExchangeOptions {
  readonly pool: ConnectionPool;
  readonly headers: OutgoingHttpHeaders;
  readonly signal: AbortSignal | undefined;
  /** The time limit in milliseconds; undefined: none. */
  readonly timeoutMs: number | undefined;
}

export abstract class Exchange {
  protected stream: ClientHttp2Stream | undefined;
  protected response: ResponseHeaders | undefined;
  private connection: Connection | undefined;
  private isDone = false;
  private sendings = 0;
  /** Whether the server had not yet said how many streams it accepts. */
  private wasSentBlindly = false;
  private timer: NodeJS.Timeout | undefined;
  private readonly deadlineMs: number;

  constructor(private readonly options: ExchangeOptions) {
    this.deadlineMs = options.timeoutMs === undefined ? Infinity : performance.now() + options.timeoutMs;
  }

  /** Sends the request's body. */
  protected abstract sendBody(stream: ClientHttp2Stream): void;
  protected abstract onResponse(headers: ResponseHeaders): void;
  protected abstract onData(chunk: Buffer): void;
  /** The response is complete. */
  protected abstract onEnd(): void;
  protected abstract reject(error: ConnectError): void;

  start(): void {
    const { signal, timeoutMs } = this.options;
    if (signal?.aborted === true) {
      this.onAbort();
      return;
    }
    if (timeoutMs !== undefined) this.timer = setTimeout(() => this.onDeadline(), timeoutMs);
    signal?.addEventListener("abort", this.onAbort);
    this.open();
  }

  /** Ends the exchange successfully, or with an error. Resets the stream unless both sides have ended it. */
  protected finish(error?: ConnectError): void {
    if (this.isDone) return;
    this.isDone = true;
    clearTimeout(this.timer);
    this.options.signal?.removeEventListener("abort", this.onAbort);
    const { stream } = this;
    if (stream !== undefined && (error !== undefined || !stream.writableFinished)) {
      stream.close(constants.NGHTTP2_CANCEL);
    }
    if (error !== undefined) this.reject(error);
  }

  private open(): void {
    const acquired = this.options.pool.acquire();
    if (!(acquired instanceof Promise)) {
      this.send(acquired);
      return;
    }
    acquired.then(
      (connection) => this.send(connection),
      (error: unknown) => this.finish(unavailable(error)),
    );
  }

  private send(connection: Connection): void {
    if (this.isDone) {
      connection.release();
      return;
    }
    this.sendings++;
    const { headers } = this.options;
    if (this.sendings > 1 && this.deadlineMs !== Infinity) {
      headers["connect-timeout-ms"] = Math.max(1, Math.ceil(this.deadlineMs - performance.now())).toString();
    }
    let stream: ClientHttp2Stream;
    try {
      stream = connection.request(headers);
    } catch (error) {
      // A header that HTTP/2 does not allow.
      connection.release();
      this.finish(ConnectError.from(error, Code.InvalidArgument));
      return;
    }
    this.stream = stream;
    this.connection = connection;
    this.wasSentBlindly = !connection.knowsLimits;
    stream.on("response", (response) => {
      this.response = response;
      if (!this.isDone) this.onResponse(response);
    });
    stream.on("data", (chunk: Buffer) => {
      if (!this.isDone) this.onData(chunk);
    });
    stream.on("end", () => {
      if (!this.isDone && this.response !== undefined && !stream.aborted) this.onEnd();
    });
    // The error is read when the stream closes.
    stream.on("error", ignore);
    stream.on("close", () => this.onClose(connection, stream));
    this.sendBody(stream);
  }

  private onClose(connection: Connection, stream: ClientHttp2Stream): void {
    connection.release();
    if (this.isDone) return;
    const cause = connection.failureOf(stream.errored ?? undefined) ?? resetError(stream);
    if (cause instanceof NotProcessedError) this.finish(unavailable(cause));
    else if (this.response !== undefined || !connection.wasRefused(stream)) {
      this.finish(new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause));
    } else if (this.sendings < SENDINGS_MAX && (!connection.isOpen || this.wasSentBlindly)) {
      this.connection = undefined;
      this.open();
    } else {
      // The connection is overloaded, and would refuse the request again.
      this.finish(unavailable(cause));
    }
  }

  private onDeadline(): void {
    const { connection } = this;
    if (connection === undefined) {
      this.finish(unavailable(new Error("no connection was established within the call's time limit")));
      return;
    }
    connection.verify();
    this.finish(new ConnectError("the operation timed out", Code.DeadlineExceeded));
  }

  private readonly onAbort = (): void => {
    const reason: unknown = this.options.signal?.reason;
    this.finish(ConnectError.from(reason, Code.Canceled));
  };
}

function ignore(): void {
  // Nothing to do.
}

/** The error of a request that the server did not process. */
function unavailable(error: unknown): ConnectError {
  const cause =
    error instanceof NotProcessedError
      ? error
      : new NotProcessedError(error instanceof Error ? error.message : String(error), { cause: error });
  return new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause);
}

function resetError(stream: ClientHttp2Stream): Error {
  const code = stream.rstCode;
  return new Error(
    code === constants.NGHTTP2_NO_ERROR || code === constants.NGHTTP2_CANCEL
      ? "the connection was closed before the response was complete"
      : `the server reset the stream with the HTTP/2 error code ${code}`,
  );
}
