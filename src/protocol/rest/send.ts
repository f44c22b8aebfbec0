/** Writes responses over HTTP/1.1 and HTTP/2. */
import type { OutgoingHttpHeaders } from "node:http";
import { PlainResponse } from "../../listener/http1/plain-response.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { Request, Response } from "./body.js";
import type { HeaderFields, Refusal } from "./errors.js";
import type { Answer } from "./shape.js";

/** Writes a complete response and returns its body's length. May add to `answer.headers`. Writes nothing if the client has disconnected. */
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

/** Writes an error response. */
export function sendRefusal(request: Request, response: Response, refusal: Refusal): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store", ...refusal.headers };
  send(request, response, { status: refusal.status, headers, body: refusal.body });
}

/**
 * Writes a status and headers. Adds the request's id to `headers`, because headers set one by one with `setHeader` are costly in Node.
 * (TypeScript can't call `writeHead` on the union of both response types.)
 */
export function writeHead(response: Response, status: number, headers: OutgoingHttpHeaders): void {
  const requestId = response.req.headers[REQUEST_ID_HEADER];
  if (requestId !== undefined) headers[REQUEST_ID_HEADER] = requestId;
  if ("stream" in response) response.writeHead(status, headers);
  else response.writeHead(status, headers);
}

/** Keeps `Origin` in `Vary` if CORS has set it. */
function keepOriginVary(response: Response | PlainResponse, headers: HeaderFields): void {
  if (headers.vary !== undefined && response.hasHeader("vary")) headers.vary = `Origin, ${headers.vary}`;
}
