/** One call of a fast path: what the service's pipeline asks of it, and the way of its request up to the message. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import type { Logger } from "pino";
import type { BoundMethod, CallInput, ServiceRegistry } from "../../service/calls.js";
import { clientNameOf, remoteAddressOf } from "../peer.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { JsonOptions, MethodCodec } from "./codec.js";
import { type Fields, addFields } from "./fields.js";
import type { SharedFrames } from "./frames.js";
import { EnvelopedBody, PlainBody, type RequestBody } from "./request-body.js";
import type { WireForm } from "./wire-form.js";

/** What all calls share. */
export interface CallSettings {
  readonly registry: Pick<ServiceRegistry, "unary" | "stream" | "observer">;
  readonly messageBytesMax: number;
  readonly jsonOptions: JsonOptions | undefined;
  readonly log: Pick<Logger, "error">;
}

/** A method and how its messages are read and written. */
export interface Route {
  readonly method: BoundMethod;
  readonly isUnary: boolean;
  readonly codec: MethodCodec;
  /** What its streams send. */
  readonly frames: SharedFrames;
}

/** What a request's head said, once it was found fit for a fast path. */
export interface RequestHead {
  readonly route: Route;
  readonly form: WireForm;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
  readonly timeoutMs: number | undefined;
  readonly acceptsGzip: boolean;
  /** Headers for web pages; undefined: none. */
  readonly corsHeaders: Readonly<Fields> | undefined;
}

/** A call of some kind on some kind of connection, which the subclasses know. */
export abstract class RpcCall implements CallInput {
  /** Set by handlers that want to send headers of their own; made on demand, as few do. */
  ownHeaders: Headers | undefined;
  /** As `ownHeaders`, for trailers. */
  ownTrailers: Headers | undefined;
  /** Answered, or nobody waits for the answer any more. */
  protected isOver = false;
  protected readonly body: RequestBody;
  private readonly startMs: number;
  private receivedBytes = 0;
  private controller: AbortController | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    protected readonly settings: CallSettings,
    protected readonly head: RequestHead,
  ) {
    const { form, route, timeoutMs } = head;
    this.body = form.isEnveloped
      ? new EnvelopedBody(
          route.codec,
          form,
          settings.messageBytesMax,
          route.isUnary ? "unary" : "server-streaming",
        )
      : new PlainBody(route.codec, form, settings.messageBytesMax);
    this.startMs = timeoutMs === undefined ? 0 : performance.now();
  }

  abstract get connection(): object;
  /** The request's body is complete. */
  abstract received(): void;
  /** Answers with an error. Never rejects. */
  protected abstract fail(error: unknown): Promise<void>;
  /** Ends a call that can't be answered. */
  protected abstract cut(): void;

  get door(): WireForm["door"] {
    return this.head.form.door;
  }
  get form(): WireForm {
    return this.head.form;
  }
  get timeoutMs(): number | undefined {
    return this.head.timeoutMs;
  }
  get arrivedMs(): number | undefined {
    return this.timeoutMs === undefined ? undefined : this.startMs;
  }
  get isCanceled(): boolean {
    return this.isOver;
  }
  get remoteAddress(): string | undefined {
    return remoteAddressOf(this.connection);
  }
  get clientName(): string | undefined {
    return clientNameOf(this.connection);
  }
  get acceptsGzip(): boolean {
    return this.head.acceptsGzip;
  }
  get jsonOptions(): JsonOptions | undefined {
    return this.settings.jsonOptions;
  }
  get requestHeaders(): IncomingHttpHeaders {
    return this.head.headers;
  }

  header(name: string): string | undefined {
    const value = this.head.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  /** Made on demand: most calls end without anyone asking for it. */
  get signal(): AbortSignal {
    return (this.controller ?? this.makeController()).signal;
  }

  addOwnHeaders(fields: Fields): void {
    fields[REQUEST_ID_HEADER] = this.head.requestId;
    if (this.head.corsHeaders !== undefined) Object.assign(fields, this.head.corsHeaders);
    addFields(fields, this.ownHeaders);
  }

  /** Takes a piece of the request's body. */
  receive(chunk: Buffer): void {
    if (this.isOver) return;
    this.receivedBytes += chunk.length;
    try {
      this.body.push(chunk);
    } catch (error) {
      void this.fail(error);
    }
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    if (this.isOver) return;
    this.finish();
    this.controller?.abort(new ConnectError("The client ended the call.", Code.Canceled));
  }

  /** The time for the call is over. */
  protected expire(error: ConnectError): void {
    this.controller?.abort(error);
  }

  protected finish(): void {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  /** Tells of bytes that were sent, and with the first of them what was received. */
  protected countSent(bytes: number): void {
    const { receivedBytes } = this;
    this.receivedBytes = 0;
    this.settings.registry.observer?.transferred(this.head.route.method, this.door, receivedBytes, bytes);
  }

  protected giveUp(fault: unknown): void {
    this.logFault(fault, "an answer can't be sent");
    this.cut();
  }

  protected connectErrorOf(error: unknown): ConnectError {
    if (error instanceof ConnectError) return error;
    this.logFault(error, "a call failed");
    return new ConnectError("internal error", Code.Internal);
  }

  private logFault(error: unknown, sentence: string): void {
    const { route, requestId } = this.head;
    this.settings.log.error(
      { err: error, method: route.method.path.slice(1), request_id: requestId },
      sentence,
    );
  }

  /** Starts the time, where there is a limit. */
  protected makeController(): AbortController {
    const controller = new AbortController();
    this.controller = controller;
    if (this.isOver) controller.abort(new ConnectError("The call is over.", Code.Canceled));
    else if (this.timeoutMs !== undefined) this.limitTime(this.timeoutMs);
    return controller;
  }

  private limitTime(timeoutMs: number): void {
    const expire = (): void =>
      this.expire(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    const leftMs = this.startMs + timeoutMs - performance.now();
    if (leftMs <= 0) expire();
    else this.timer = setTimeout(expire, Math.min(leftMs, TIMER_MS_MAX));
  }
}

/** Node's timers can't wait longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;
