/** A call on a fast path: reads the request message, and is the service pipeline's view of the call. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import type { Logger } from "pino";
import { HeldMemory } from "../../kv/held-memory.js";
import type { BoundMethod, CallInput, ServiceRegistry } from "../../service/calls.js";
import type { Principal } from "../../service/principal.js";
import type { BodyReader, Exchange, Fields } from "../exchange.js";
import { clientNameOf, remoteAddressOf } from "../peer.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { JsonOptions, MethodCodec } from "./codec.js";
import type { MessageLimit } from "../message-limit.js";
import { addFields } from "./fields.js";
import type { SharedFrames } from "./frames.js";
import { EnvelopedBody, PlainBody, type RequestBody } from "./request-body.js";
import type { WireForm } from "./protocol.js";

/** Shared by all calls. */
export interface CallSettings {
  readonly registry: Pick<ServiceRegistry, "authenticate" | "unary" | "stream" | "observer">;
  readonly jsonOptions: JsonOptions | undefined;
  readonly log: Pick<Logger, "error">;
}

/** A method with the codec of its messages. */
export interface Route {
  readonly method: BoundMethod;
  readonly isUnary: boolean;
  readonly limit: MessageLimit;
  readonly codec: MethodCodec;
  /** Encoded messages, shared by the method's streams. */
  readonly frames: SharedFrames;
}

/** The parsed head of a request that was admitted to a fast path. */
export interface RequestHead {
  readonly route: Route;
  readonly form: WireForm;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
  readonly timeoutMs: number | undefined;
  readonly acceptsGzip: boolean;
  /** Undefined: none. */
  readonly corsHeaders: Readonly<Fields> | undefined;
}

/** A call; subclasses implement unary and streaming calls. */
export abstract class RpcCall implements CallInput, BodyReader {
  /** Response headers that a handler set; created on demand, since few handlers set any. */
  ownHeaders: Headers | undefined;
  /** The caller, authenticated before the body is read. */
  caller: Principal | undefined;
  /** Response trailers that a handler set. */
  ownTrailers: Headers | undefined;
  /** The call was answered, or the client canceled it. */
  protected isOver = false;
  protected readonly body: RequestBody;
  private readonly startMs: number;
  private receivedBytes = 0;
  private controller: AbortController | undefined;
  private timer: NodeJS.Timeout | undefined;
  private heldMemory: HeldMemory | undefined;

  constructor(
    protected readonly settings: CallSettings,
    protected readonly head: RequestHead,
    protected readonly exchange: Exchange,
  ) {
    const { form, route, timeoutMs } = head;
    this.body = form.isEnveloped
      ? new EnvelopedBody(route.codec, form, route.limit, route.isUnary ? "unary" : "server-streaming")
      : new PlainBody(route.codec, form, route.limit);
    this.startMs = timeoutMs === undefined ? 0 : performance.now();
  }

  /** The request's body is complete. */
  abstract received(): void;
  /** Answers with an error. Never rejects. */
  protected abstract fail(error: unknown): Promise<void>;

  /** Authenticates the call, reads the request's body, then runs the call. */
  read(): void {
    this.listen();
    try {
      this.caller = this.settings.registry.authenticate(this.head.route.method, this);
    } catch (error) {
      void this.fail(error);
      return;
    }
    this.exchange.read(this);
  }

  get connection(): object {
    return this.exchange.socket;
  }
  /** Created on demand: most calls hold nothing. */
  get held(): HeldMemory {
    this.heldMemory ??= new HeldMemory();
    return this.heldMemory;
  }
  get protocol(): WireForm["protocolName"] {
    return this.head.form.protocolName;
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
    return remoteAddressOf(this.exchange.socket);
  }
  get clientName(): string | undefined {
    return clientNameOf(this.exchange.socket);
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

  /** Created on demand: most calls never use it. */
  get signal(): AbortSignal {
    return (this.controller ?? this.makeController()).signal;
  }

  addOwnHeaders(fields: Fields): void {
    fields[REQUEST_ID_HEADER] = this.head.requestId;
    if (this.head.corsHeaders !== undefined) Object.assign(fields, this.head.corsHeaders);
    addFields(fields, this.ownHeaders);
  }

  /** Receives a chunk of the request's body. */
  receive(chunk: Buffer): void {
    if (this.isOver) return;
    this.receivedBytes += chunk.length;
    try {
      this.body.push(chunk);
    } catch (error) {
      void this.fail(error);
    }
  }

  failed(error: ConnectError): void {
    void this.fail(error);
  }

  /** Cancels the call when the client cancels it or disconnects. */
  protected listen(): void {
    this.exchange.onAbandoned(() => this.abandon());
  }

  protected abandon(): void {
    if (this.isOver) return;
    this.finish();
    this.controller?.abort(new ConnectError("The client ended the call.", Code.Canceled));
  }

  /** The call's deadline has passed. */
  protected expire(error: ConnectError): void {
    this.controller?.abort(error);
  }

  protected finish(): void {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  protected releaseHeld(): void {
    this.heldMemory?.release();
  }

  /** Reports sent bytes to the observer; the first report includes the received bytes. */
  protected countSent(bytes: number): void {
    const { receivedBytes } = this;
    this.receivedBytes = 0;
    this.settings.registry.observer?.transferred(this.head.route.method, this.protocol, receivedBytes, bytes);
  }

  protected giveUp(fault: unknown): void {
    this.logFault(fault, "a response could not be sent");
    this.exchange.reset();
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

  /** Creates the abort controller, and starts the deadline timer if the call has a deadline. */
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

/** The longest delay of a Node timer. */
const TIMER_MS_MAX = 2 ** 31 - 1;
