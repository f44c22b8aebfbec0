/** A unary call over HTTP/2. */
import { ErrorCode, type RequestStream } from "@ironflow-kv/http2";
import type { CallSettings, RequestHead } from "../rpc/call.js";
import type { Answer } from "./answer.js";
import { UnaryCall } from "./call.js";

export class Http2UnaryCall extends UnaryCall {
  constructor(
    settings: CallSettings,
    head: RequestHead,
    private readonly stream: RequestStream,
  ) {
    super(settings, head);
  }

  get connection(): object {
    return this.stream.connection;
  }

  /** Reads the request's body, then runs the call. */
  read(): void {
    this.listen();
    if (this.stream.isRequestComplete) this.received();
  }

  protected listen(): void {
    this.stream.listener = this;
  }

  protected write({ status, headers, body, trailers }: Answer): void {
    const isEmpty = body === undefined || body.length === 0;
    const isEnd = isEmpty && trailers === undefined;
    this.stream.respond(status, headers, isEnd);
    if (!isEnd) this.stream.end(body, trailers);
  }

  protected cut(): void {
    this.stream.reset(ErrorCode.internalError);
  }
}
