/** One unary call: what the service's pipeline asks of it, and its way from the request's bytes to the answer. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import type { Logger } from "pino";
import type { BoundMethod, CallInput, ServiceRegistry } from "../../service/calls.js";
import { type Answer, type AnswerMaker, type Fields, addFields } from "./answer.js";
import { connectAnswers } from "./answer-connect.js";
import { grpcAnswers } from "./answer-grpc.js";
import { grpcWebAnswers } from "./answer-grpc-web.js";
import type { JsonOptions, MethodCodec } from "./codec.js";
import { EnvelopedBody, PlainBody, type RequestBody } from "./request-body.js";
import type { WireForm } from "./wire-form.js";

/** What all calls share. */
export interface CallSettings {
  readonly registry: Pick<ServiceRegistry, "unary">;
  readonly messageBytesMax: number;
  readonly jsonOptions: JsonOptions | undefined;
  readonly log: Pick<Logger, "error">;
}

/** A unary method and how its messages are read and written. */
export interface UnaryRoute {
  readonly method: BoundMethod;
  readonly codec: MethodCodec;
}

/** What a request's head said, once it was found fit for the fast path. */
export interface RequestHead {
  readonly route: UnaryRoute;
  readonly form: WireForm;
  readonly headers: IncomingHttpHeaders;
  readonly timeoutMs: number | undefined;
  readonly acceptsGzip: boolean;
  /** Headers for web pages; undefined: none. */
  readonly corsHeaders: Readonly<Fields> | undefined;
}

const ANSWERS: Readonly<Record<WireForm["door"], AnswerMaker>> = {
  grpc: grpcAnswers,
  "grpc-web": grpcWebAnswers,
  connect: connectAnswers,
};

/** A call on some kind of stream, which the subclasses know. */
export abstract class UnaryCall implements CallInput {
  /** Set by handlers that want to send headers of their own; made on demand, as few do. */
  ownHeaders: Headers | undefined;
  /** As `ownHeaders`, for trailers. */
  ownTrailers: Headers | undefined;
  /** Answered, or nobody waits for the answer any more. */
  protected isOver = false;
  private readonly body: RequestBody;
  private readonly startMs: number;
  private controller: AbortController | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly settings: CallSettings,
    private readonly head: RequestHead,
  ) {
    const { form, route } = head;
    const Body = form.door === "connect" ? PlainBody : EnvelopedBody;
    this.body = new Body(route.codec, form, settings.messageBytesMax);
    this.startMs = head.timeoutMs === undefined ? 0 : performance.now();
  }

  abstract get connection(): object;
  /** Reads the request's body; answers when it is complete. */
  abstract read(): void;
  /** Notices when the client goes away. */
  protected abstract listen(): void;
  /** Writes the answer; only ever called once. May throw where a header is not fit to be sent. */
  protected abstract write(answer: Answer): void;
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
    this.controller ??= this.makeController();
    return this.controller.signal;
  }

  addOwnHeaders(fields: Fields): void {
    if (this.head.corsHeaders !== undefined) Object.assign(fields, this.head.corsHeaders);
    addFields(fields, this.ownHeaders);
  }

  /** Takes a piece of the request's body. */
  receive(chunk: Buffer): void {
    if (this.isOver) return;
    try {
      this.body.push(chunk);
    } catch (error) {
      void this.fail(error);
    }
  }

  /** The request's body is complete. */
  received(): void {
    if (!this.isOver) void this.run(undefined);
  }

  /** Runs a call whose message did not come in a body. */
  answerTo(bytes: Uint8Array): void {
    this.listen();
    void this.run(bytes);
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    if (this.isOver) return;
    this.finish();
    this.controller?.abort(new ConnectError("The client ended the call.", Code.Canceled));
  }

  /** Answers with an error. Never rejects. */
  async fail(error: unknown): Promise<void> {
    if (this.isOver) return;
    this.finish();
    try {
      const answer = ANSWERS[this.door].failure(this, this.connectErrorOf(error));
      this.write(answer instanceof Promise ? await answer : answer);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  /** Never rejects. */
  private async run(bytes: Uint8Array | undefined): Promise<void> {
    const { route, form } = this.head;
    const answers = ANSWERS[form.door];
    let framed: Buffer;
    try {
      const request = bytes === undefined ? this.body.end() : route.codec.decode(form.isBinary, bytes);
      const response = await this.settings.registry.unary(route.method, this, request);
      framed = route.codec.encode(form.isBinary, response, answers.headBytes);
    } catch (error) {
      await this.fail(error);
      return;
    }
    if (this.isOver) return;
    this.finish();
    try {
      const answer = answers.success(this, framed);
      this.write(answer instanceof Promise ? await answer : answer);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  private finish(): void {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  private giveUp(fault: unknown): void {
    this.settings.log.error({ err: fault, method: this.head.route.method.path }, "an answer can't be sent");
    this.cut();
  }

  private connectErrorOf(error: unknown): ConnectError {
    if (error instanceof ConnectError) return error;
    this.settings.log.error({ err: error, method: this.head.route.method.path }, "a call failed");
    return new ConnectError("internal error", Code.Internal);
  }

  private makeController(): AbortController {
    const controller = new AbortController();
    if (this.isOver) controller.abort(new ConnectError("The call is over.", Code.Canceled));
    else if (this.timeoutMs !== undefined) this.limitTime(controller, this.timeoutMs);
    return controller;
  }

  private limitTime(controller: AbortController, timeoutMs: number): void {
    const expire = (): void =>
      controller.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    const leftMs = this.startMs + timeoutMs - performance.now();
    if (leftMs <= 0) expire();
    else this.timer = setTimeout(expire, Math.min(leftMs, TIMER_MS_MAX));
  }
}

/** Node's timers can't wait longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;
