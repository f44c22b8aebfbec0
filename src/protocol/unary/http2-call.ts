/** A unary call on an HTTP/2 stream. */
import { constants, type ServerHttp2Stream } from "node:http2";
import type { CallSettings, RequestHead } from "../rpc/call.js";
import { followStream, readRequest, sendTrailersLast } from "../rpc/http2-events.js";
import { stopRequest } from "../unread-body.js";
import type { Answer } from "./answer.js";
import { UnaryCall } from "./call.js";

export class Http2UnaryCall extends UnaryCall {
  private readsBody = false;

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

  /** Reads the request's body; answers when it is complete. */
  read(): void {
    this.listen();
    this.readsBody = true;
    readRequest(this.stream);
  }

  protected listen(): void {
    followStream(this.stream, this);
  }

  protected write(answer: Answer): void {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    const { status, headers, body, trailers } = answer;
    const isEmpty = body === undefined || body.length === 0;
    if (trailers !== undefined) {
      sendTrailersLast(stream, trailers);
      stream.respond(headers, { waitForTrailers: true });
    } else {
      stream.respond(status === 200 ? headers : { ...headers, ":status": status }, { endStream: isEmpty });
      // The client may still be sending.
      if (this.readsBody && !stream.readableEnded) stream.once("finish", () => stopRequest(stream));
    }
    if (isEmpty) stream.end();
    else stream.end(body);
  }

  protected cut(): void {
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}
