/** A server-streaming call over HTTP/1.1, with a chunked response. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { CallSettings, RequestHead } from "../rpc/call.js";
import type { Fields } from "../rpc/fields.js";
import { followResponse, readRequest } from "../rpc/http1-events.js";
import { StreamingCall } from "./call.js";
import type { Ending } from "./ending.js";

export class Http1StreamingCall extends StreamingCall {
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

  /** Reads the request's body, then starts the stream. */
  read(): void {
    followResponse(this.response, this);
    readRequest(this.request, this);
  }

  protected get isFull(): boolean {
    return this.response.writableNeedDrain;
  }

  protected onceDrained(listener: () => void): void {
    this.response.once("drain", listener);
  }

  protected writeHeaders(headers: Readonly<Fields>): void {
    if (this.response.destroyed) return;
    this.response.writeHead(200, headers);
    this.response.flushHeaders();
  }

  protected write(frames: readonly Buffer[]): void {
    const { response } = this;
    if (response.destroyed) return;
    response.cork();
    for (const frame of frames) response.write(frame);
    response.uncork();
  }

  protected writeEnding(ending: Ending): void {
    // Only gRPC ends in HTTP trailers, and it needs HTTP/2.
    if (!this.response.destroyed && "envelope" in ending) this.response.end(ending.envelope);
  }

  protected cut(): void {
    this.response.destroy();
  }
}
