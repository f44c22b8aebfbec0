/** A unary call on an HTTP/2 stream. */
import type { ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { Answer, Fields } from "./answer.js";
import { type CallSettings, type RequestHead, UnaryCall } from "./call.js";

/** The stream carries its call, so that one function serves as the listener of every stream. */
const CALL = Symbol("call");
interface CallStream extends ServerHttp2Stream {
  [CALL]: Http2Call;
}

export class Http2Call extends UnaryCall {
  private trailers: Readonly<Fields> | undefined;

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

  read(): void {
    this.listen();
    this.stream.on("data", onData);
    this.stream.on("end", onEnd);
  }

  protected listen(): void {
    (this.stream as CallStream)[CALL] = this;
    this.stream.on("aborted", onAborted);
  }

  sendTrailers(): void {
    if (this.trailers !== undefined) this.stream.sendTrailers(this.trailers);
  }

  protected write(answer: Answer): void {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    const { status, headers, body, trailers } = answer;
    const isEmpty = body === undefined || body.length === 0;
    if (trailers !== undefined) {
      this.trailers = trailers;
      stream.on("wantTrailers", onWantTrailers);
      stream.respond(headers, { waitForTrailers: true });
    } else {
      stream.respond(status === 200 ? headers : { ...headers, ":status": status }, { endStream: isEmpty });
    }
    if (!stream.readableEnded) this.leaveRequestUnread();
    if (isEmpty) stream.end();
    else stream.end(body);
  }

  protected cut(): void {
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  /** The client is told to stop sending once the answer is out: RFC 9113 section 8.1. */
  private leaveRequestUnread(): void {
    const { stream } = this;
    stream.once("finish", () => {
      if (!stream.readableEnded) stream.close();
    });
  }
}

function onData(this: ServerHttp2Stream, chunk: Buffer): void {
  (this as CallStream)[CALL].receive(chunk);
}

function onEnd(this: ServerHttp2Stream): void {
  (this as CallStream)[CALL].received();
}

function onAborted(this: ServerHttp2Stream): void {
  (this as CallStream)[CALL].abandon();
}

function onWantTrailers(this: ServerHttp2Stream): void {
  (this as CallStream)[CALL].sendTrailers();
}
