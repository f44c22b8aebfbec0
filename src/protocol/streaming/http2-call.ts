/** A server-streaming call on an HTTP/2 stream. */
import { constants, type ServerHttp2Stream } from "node:http2";
import type { CallSettings, RequestHead } from "../rpc/call.js";
import type { Fields } from "../rpc/fields.js";
import { followStream, readRequest, sendTrailersLast } from "../rpc/http2-events.js";
import { stopRequest } from "../unread-body.js";
import { StreamingCall } from "./call.js";
import type { Ending } from "./ending.js";

export class Http2StreamingCall extends StreamingCall {
  constructor(
    settings: CallSettings,
    head: RequestHead,
    private readonly stream: ServerHttp2Stream,
  ) {
    super(settings, head);
  }

  get connection(): object {
    return this.stream.session ?? this.stream;
  }

  /** Reads the request's body; starts the stream when it is complete. */
  read(): void {
    followStream(this.stream, this);
    readRequest(this.stream);
  }

  protected get isFull(): boolean {
    return this.stream.writableNeedDrain;
  }

  protected onceDrained(listener: () => void): void {
    this.stream.once("drain", listener);
  }

  protected writeHeaders(headers: Readonly<Fields>): void {
    if (this.isGone) return;
    this.stream.respond(headers, { waitForTrailers: this.door === "grpc" });
  }

  protected write(frames: readonly Buffer[]): void {
    if (this.isGone) return;
    const { stream } = this;
    stream.cork();
    for (const frame of frames) stream.write(frame);
    stream.uncork();
  }

  protected writeEnding(ending: Ending): void {
    if (this.isGone) return;
    const { stream } = this;
    if ("trailers" in ending) {
      sendTrailersLast(stream, ending.trailers);
      stream.end();
    } else {
      // A call that failed before its request was complete: the client may still be sending.
      if (!stream.readableEnded) stream.once("finish", () => stopRequest(stream));
      stream.end(ending.envelope);
    }
  }

  protected cut(): void {
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  private get isGone(): boolean {
    return this.stream.destroyed || this.stream.closed;
  }
}
