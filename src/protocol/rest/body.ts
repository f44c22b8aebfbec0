/** Reads a request's complete body, up to a limit. A truncated body is an error, never a result. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Pieces } from "../pieces.js";
import { Refusal, badRequest } from "./errors.js";

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** Checks the headers before the body is read. Throws a 413 for a `Content-Length` over the limit, a 415 for a `Content-Encoding`. */
export function checkBodyHeaders(request: Request, bytesMax: number, tooLargeCode: string): void {
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new Refusal(
      415,
      "unsupported_media_type",
      `The body has Content-Encoding ${encoding}; it must be uncompressed.`,
      { "accept-encoding": "identity" },
    );
  }
  if (Number(request.headers["content-length"] ?? 0) > bytesMax) throw tooLarge(bytesMax, tooLargeCode);
}

export interface BodyLimits {
  readonly bytesMax: number;
  /** The code of the 413. */
  readonly tooLargeCode: string;
  /** Applies to HTTP/2; for HTTP/1.1, Node's server enforces the timeout. */
  readonly timeoutMs: number;
}

/** Reads the body. Rejects with a 413 as soon as it exceeds the limit, and with another 4xx if it is truncated or too slow. */
export function readBody(request: Request, limits: BodyLimits): Promise<Uint8Array> {
  // A plain request already has its body.
  const { body } = request as { readonly body?: Buffer };
  if (body !== undefined) {
    return body.length > limits.bytesMax
      ? Promise.reject(tooLarge(limits.bytesMax, limits.tooLargeCode))
      : Promise.resolve(body);
  }
  return new Promise((resolve, reject) => {
    const pieces = new Pieces();
    let isTooLarge = false;
    const timer = request.httpVersionMajor === 2 ? startTimer(limits.timeoutMs, reject) : undefined;
    request.on("data", (chunk: Buffer) => {
      if (isTooLarge) return;
      pieces.add(chunk);
      if (pieces.bytes <= limits.bytesMax) return;
      isTooLarge = true;
      pieces.drop();
      reject(tooLarge(limits.bytesMax, limits.tooLargeCode));
    });
    // On HTTP/2, `end` follows a reset as if the body were complete, but `aborted` precedes it (on HTTP/1.1 too).
    const onTruncated = (): void => {
      clearTimeout(timer);
      reject(badRequest("The body ended before it was complete."));
    };
    request.on("aborted", onTruncated);
    request.on("error", onTruncated);
    request.on("close", onTruncated);
    request.on("end", () => {
      clearTimeout(timer);
      resolve(pieces.takeAll());
    });
  });
}

function startTimer(timeoutMs: number, reject: (error: Refusal) => void): NodeJS.Timeout {
  const refusal = new Refusal(408, "request_timeout", `The body took longer than ${timeoutMs} milliseconds.`);
  return setTimeout(() => reject(refusal), timeoutMs);
}

function tooLarge(bytesMax: number, code: string): Refusal {
  return new Refusal(413, code, `The body is too large; at most ${bytesMax} bytes are allowed.`);
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Parses a body as a JSON object. Throws a 400. */
export function parseJsonObject(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  if (bytes.length === 0) throw badRequest("The body is empty; it must be a JSON object.");
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    throw badRequest("The body is not JSON in UTF-8; it must be a JSON object.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw badRequest("The body is JSON, but not an object; it must be a JSON object.");
  }
  return value as Record<string, unknown>;
}
