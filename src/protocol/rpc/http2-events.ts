/** Hands what happens on an HTTP/2 stream to its call. The stream carries the call, so that one function serves as the listener of all. */
import type { ServerHttp2Stream } from "node:http2";
import { stopRequest } from "../unread-body.js";
import type { RpcCall } from "./call.js";
import type { Fields } from "./fields.js";

const CALL = Symbol("call");
interface CallStream extends ServerHttp2Stream {
  [CALL]: RpcCall;
}

const TRAILERS = Symbol("trailers");
interface TrailerStream extends ServerHttp2Stream {
  [TRAILERS]: Readonly<Fields>;
}

/** Reads the request's body. */
export function readRequest(stream: ServerHttp2Stream): void {
  stream.on("data", onData);
  stream.on("end", onEnd);
}

/** Notices when the client goes away: by a reset, or with its connection. Comes before `readRequest`. */
export function followStream(stream: ServerHttp2Stream, call: RpcCall): void {
  (stream as CallStream)[CALL] = call;
  stream.on("aborted", onAborted);
}

/** The trailers of an answer whose response said that they follow. Comes before the stream's `end`. */
export function sendTrailersLast(stream: ServerHttp2Stream, trailers: Readonly<Fields>): void {
  (stream as TrailerStream)[TRAILERS] = trailers;
  stream.on("wantTrailers", onWantTrailers);
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
  this.sendTrailers((this as TrailerStream)[TRAILERS]);
  if (!this.readableEnded) stopRequest(this);
}
