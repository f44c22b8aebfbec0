/** Writes answers, on HTTP/1.1 and HTTP/2 alike. */
import type { OutgoingHttpHeaders } from "node:http";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { Request, Response } from "./body.js";
import type { HeaderFields, Refusal } from "./errors.js";
import type { Answer } from "./shape.js";

/** Writes a whole answer, whose headers it adds to. Nothing when the client is gone. */
export function send(request: Request, response: Response, answer: Answer): void {
  if (response.headersSent || response.destroyed) return;
  const { status, body, headers } = answer;
  keepOriginVary(response, headers);
  if (body !== undefined) {
    headers["content-length"] = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  }
  writeHead(response, status, headers);
  if (body === undefined || request.method === "HEAD") response.end();
  else response.end(body);
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
function keepOriginVary(response: Response, headers: HeaderFields): void {
  if (headers.vary !== undefined && response.hasHeader("vary")) headers.vary = `Origin, ${headers.vary}`;
}
