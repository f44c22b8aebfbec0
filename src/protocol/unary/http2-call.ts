/** A unary call on an HTTP/2 stream. */
import type { ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { Answer, Fields } from "./answer.js";
import { stopRequest } from "../unread-body.js";
import { type CallSettings, type RequestHead, UnaryCall } from "./call.js";

/** The stream carries its call, so that one function serves as the listener of every stream. */
const CALL = Symbol("call");
interface CallStream extends ServerHttp2Stream {
  [CALL]: Http2Call;
}

export class Http2Call extends UnaryCall {
  private trailers: Readonly<Fields> | undefined;
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

  read(): void {
    this.listen();
    this.readsBody = true;
    this.stream.on("data", onData);
    this.stream.on("end", onEnd);
  }

  protected listen(): void {
    (this.stream as CallStream)[CALL] = this;
    this.stream.on("aborted", onAborted);
  }

  /** Whether the client may still be sending. */
  private get isUnread(): boolean {
    return this.readsBody && !this.stream.readableEnded;
  }

  sendTrailers(): void {
    const { stream } = this;
    if (this.trailers !== undefined) stream.sendTrailers(this.trailers);
    if (this.isUnread) stopRequest(stream);
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
      if (this.isUnread) stream.once("finish", () => stopRequest(stream));
    }
    if (isEmpty) stream.end();
    else stream.end(body);
  }

  protected cut(): void {
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
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
