/** Reads a request's complete body, up to a limit. A truncated body is an error, never a result. */
import type { Exchange, RequestHead } from "../exchange.js";
import { Pieces } from "../pieces.js";
import { Refusal, badRequest } from "./errors.js";

/** Checks the headers before the body is read. Throws a 413 for a `Content-Length` over the limit, a 415 for a `Content-Encoding`. */
export function checkBodyHeaders({ headers }: RequestHead, bytesMax: number, tooLargeCode: string): void {
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new Refusal(
      415,
      "unsupported_media_type",
      `The body has Content-Encoding ${encoding}; it must be uncompressed.`,
      { "accept-encoding": "identity" },
    );
  }
  if (Number(headers["content-length"] ?? 0) > bytesMax) throw tooLarge(bytesMax, tooLargeCode);
}

export interface BodyLimits {
  readonly bytesMax: number;
  /** The code of the 413. */
  readonly tooLargeCode: string;
  /** Applies to HTTP/2; for HTTP/1.1, Node's server enforces the timeout. */
  readonly timeoutMs: number;
}

/** Reads the body. Rejects with a 413 as soon as it exceeds the limit, and with another 4xx if it is truncated or too slow. */
export function readBody(exchange: Exchange, limits: BodyLimits): Promise<Uint8Array> {
  const { bytesMax, tooLargeCode, timeoutMs } = limits;
  return new Promise((resolve, reject) => {
    const pieces = new Pieces();
    let isTooLarge = false;
    const timer = exchange.httpVersion === "2.0" ? startTimer(timeoutMs, reject) : undefined;
    exchange.read({
      receive(chunk) {
        if (isTooLarge) return;
        pieces.add(chunk);
        if (pieces.bytes <= bytesMax) return;
        isTooLarge = true;
        pieces.drop();
        reject(tooLarge(bytesMax, tooLargeCode));
      },
      received() {
        clearTimeout(timer);
        resolve(pieces.takeAll());
      },
    });
    exchange.onAbandoned(() => {
      clearTimeout(timer);
      reject(badRequest("The body ended before it was complete."));
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

/** Decodes a body as text. Throws a 400. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw badRequest("The body is not UTF-8; it must be JSON in UTF-8.");
  }
}

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
