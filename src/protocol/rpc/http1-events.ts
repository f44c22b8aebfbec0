/** Forwards the events of an HTTP/1.1 request to its call. The call is a property of request and response, so all calls share the listeners. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RpcCall } from "./call.js";

const CALL = Symbol("call");
interface Carrying {
  [CALL]: RpcCall;
}

/** Forwards the request's body to the call. */
export function readRequest(request: IncomingMessage, call: RpcCall): void {
  (request as IncomingMessage & Carrying)[CALL] = call;
  request.on("data", onData);
  request.on("end", onEnd);
  // The client disconnected before the end of the body; the response's `close` reports it.
  request.on("error", ignore);
}

/** Cancels the call when the client disconnects. */
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
