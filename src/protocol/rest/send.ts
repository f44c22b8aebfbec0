/** Writes answers, on HTTP/1.1 and HTTP/2 alike. */
import type { OutgoingHttpHeaders } from "node:http";
import { PlainResponse } from "../../http1/plain-response.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { Request, Response } from "./body.js";
import type { HeaderFields, Refusal } from "./errors.js";
import type { Answer } from "./shape.js";

/** Writes a whole answer, whose headers it may add to, and returns its body's length. Nothing when the client is gone. */
export function send(request: Request, response: Response | PlainResponse, answer: Answer): number {
  if (response.headersSent || response.destroyed) return 0;
  const { status, body, headers } = answer;
  keepOriginVary(response, headers);
  const bytes = body === undefined ? 0 : typeof body === "string" ? Buffer.byteLength(body) : body.length;
  if (response instanceof PlainResponse) {
    response.answer(status, headers, request.headers[REQUEST_ID_HEADER]?.toString(), body);
    return bytes;
  }
  if (body !== undefined) headers["content-length"] = bytes;
  writeHead(response, status, headers);
  if (body === undefined || request.method === "HEAD") response.end();
  else response.end(body);
  return bytes;
}

/** Writes an error. */
export function sendRefusal(request: Request, response: Response, refusal: Refusal): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store", ...refusal.headers };
  send(request, response, { status: refusal.status, headers, body: refusal.body });
}

/**
 * Writes a status and headers, which it adds the request's id to: headers that were set one by one before cost Node more than all others.
 * (The two kinds of response declare `writeHead` separately, so that a union of them can't be called.)
 */
export function writeHead(response: Response, status: number, headers: OutgoingHttpHeaders): void {
  const requestId = response.req.headers[REQUEST_ID_HEADER];
  if (requestId !== undefined) headers[REQUEST_ID_HEADER] = requestId;
  if ("stream" in response) response.writeHead(status, headers);
  else response.writeHead(status, headers);
}

/** CORS may have set `Vary: Origin` already, which our own must not replace. */
function keepOriginVary(response: Response | PlainResponse, headers: HeaderFields): void {
  if (headers.vary !== undefined && response.hasHeader("vary")) headers.vary = `Origin, ${headers.vary}`;
}
