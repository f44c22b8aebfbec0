/** A server-streaming call over HTTP/2. */
import { ErrorCode, type RequestStream } from "@ironflow-kv/http2";
import type { CallSettings, RequestHead } from "../rpc/call.js";
import type { Fields } from "../rpc/fields.js";
import { StreamingCall } from "./call.js";
import type { Ending } from "./ending.js";

export class Http2StreamingCall extends StreamingCall {
  private onDrained: (() => void) | undefined;

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

  /** Reads the request's body, then starts the stream. */
  read(): void {
    this.stream.listener = this;
    if (this.stream.isRequestComplete) this.received();
  }

  drain(): void {
    const { onDrained } = this;
    this.onDrained = undefined;
    onDrained?.();
  }

  protected get isFull(): boolean {
    return this.stream.isFull;
  }

  protected onceDrained(listener: () => void): void {
    this.onDrained = listener;
  }

  protected writeHeaders(headers: Readonly<Fields>): void {
    this.stream.respond(200, headers, false);
  }

  protected write(frames: readonly Buffer[]): void {
    this.stream.writeAll(frames);
  }

  protected writeEnding(ending: Ending): void {
    if ("trailers" in ending) this.stream.end(undefined, ending.trailers);
    else this.stream.end(ending.envelope);
  }

  protected cut(): void {
    this.stream.reset(ErrorCode.internalError);
  }
}
