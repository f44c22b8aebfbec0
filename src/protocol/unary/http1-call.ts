/** A unary call on an HTTP/1.1 request. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Answer } from "./answer.js";
import { type CallSettings, type RequestHead, UnaryCall } from "./call.js";

/** Request and response carry their call, so that one function serves as the listener of all. */
const CALL = Symbol("call");
interface CallRequest extends IncomingMessage {
  [CALL]: Http1Call;
}
interface CallResponse extends ServerResponse {
  [CALL]: Http1Call;
}

export class Http1Call extends UnaryCall {
  constructor(
    settings: CallSettings,
    head: RequestHead,
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
  ) {
    super(settings, head);
  }

  get connection(): object {
    return this.request.socket;
  }

  read(): void {
    this.listen();
    const { request } = this;
    (request as CallRequest)[CALL] = this;
    request.on("data", onData);
    request.on("end", onEnd);
    // A client that hangs up in the middle; the response's `close` says so too.
    request.on("error", ignore);
  }

  protected listen(): void {
    (this.response as CallResponse)[CALL] = this;
    this.response.on("close", onClose);
  }

  protected write(answer: Answer): void {
    const { response } = this;
    if (response.destroyed) return;
    const { status, headers, body } = answer;
    response.writeHead(
      status,
      headers["content-length"] === undefined
        ? { ...headers, "content-length": String(body?.length ?? 0) }
        : headers,
    );
    response.end(body);
  }

  protected cut(): void {
    this.response.destroy();
  }
}

function onData(this: IncomingMessage, chunk: Buffer): void {
  (this as CallRequest)[CALL].receive(chunk);
}

function onEnd(this: IncomingMessage): void {
  (this as CallRequest)[CALL].received();
}

function onClose(this: ServerResponse): void {
  (this as CallResponse)[CALL].abandon();
}

function ignore(): void {
  // Nothing to do.
}
