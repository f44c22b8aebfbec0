/** A unary call over HTTP/1.1. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { CallSettings, RequestHead } from "../rpc/call.js";
import { followResponse, readRequest } from "../rpc/http1-events.js";
import type { Answer } from "./answer.js";
import { UnaryCall } from "./call.js";

export class Http1UnaryCall extends UnaryCall {
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

  /** Reads the request's body, then runs the call. */
  read(): void {
    this.listen();
    readRequest(this.request, this);
  }

  protected listen(): void {
    followResponse(this.response, this);
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
