/** Hands what happens on an HTTP/1.1 request to its call. Both ends carry the call, so that one function serves as the listener of all. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RpcCall } from "./call.js";

const CALL = Symbol("call");
interface Carrying {
  [CALL]: RpcCall;
}

/** Reads the request's body. */
export function readRequest(request: IncomingMessage, call: RpcCall): void {
  (request as IncomingMessage & Carrying)[CALL] = call;
  request.on("data", onData);
  request.on("end", onEnd);
  // A client that hangs up in the middle; the response's `close` says so too.
  request.on("error", ignore);
}

/** Notices when the client goes away. */
export function followResponse(response: ServerResponse, call: RpcCall): void {
  (response as ServerResponse & Carrying)[CALL] = call;
  response.on("close", onClose);
}

function onData(this: IncomingMessage, chunk: Buffer): void {
  (this as IncomingMessage & Carrying)[CALL].receive(chunk);
}

function onEnd(this: IncomingMessage): void {
  (this as IncomingMessage & Carrying)[CALL].received();
}

function onClose(this: ServerResponse): void {
  (this as ServerResponse & Carrying)[CALL].abandon();
}

function ignore(): void {
  // Nothing to do.
}
