/** Compresses REST responses for clients that accept gzip. */
import { promisify } from "node:util";
import { createGzip, gzip } from "node:zlib";
import { acceptsCoding } from "../accept-encoding.js";
import type { Chunk, Exchange, Fields } from "../exchange.js";
import type { Answer } from "../send.js";

/** Smaller bodies are not compressed: the same minimum as for RPC messages. */
const COMPRESS_BYTES_MIN = 1_024;
/** Content types that are compressed already. */
const COMPRESSED_TYPE =
  /^(image\/(?!svg|bmp|x-ms-bmp)|video\/|audio\/(?!wav|x-wav)|font\/woff|application\/(zip|gzip|x-gzip|zstd|x-7z-compressed|x-bzip2?|x-xz|vnd\.rar|x-rar-compressed|java-archive|pdf|epub\+zip|vnd\.openxmlformats|vnd\.oasis\.opendocument))/i;

const compress = promisify(gzip);

/** The answer, compressed if the client accepts that and it pays. Returns a promise only if it compresses. */
export function encodedAnswer(exchange: Exchange, answer: Answer): Answer | Promise<Answer> {
  const { status, headers, body } = answer;
  if (body === undefined || !isLong(body) || COMPRESSED_TYPE.test(headers["content-type"] ?? ""))
    return answer;
  const fields = varying(headers);
  if (!acceptsCoding(exchange.headers, "gzip")) return { status, headers: fields, body };
  return compress(body).then((bytes) => ({ status, headers: gzipped(fields), body: bytes }));
}

/** A compressor for a streamed response if the client accepts gzip, and the fields of the response's head. */
export function streamEncoding(
  exchange: Exchange,
  headers: Fields,
): { readonly headers: Fields; readonly gzip: GzipStream | undefined } {
  const fields = varying(headers);
  if (!acceptsCoding(exchange.headers, "gzip")) return { headers: fields, gzip: undefined };
  return { headers: gzipped(fields), gzip: new GzipStream() };
}

/** Compresses a body in parts. */
export class GzipStream {
  private readonly stream = createGzip();
  private produced: Buffer[] = [];

  constructor() {
    this.stream.on("data", (chunk: Buffer) => this.produced.push(chunk));
  }

  /** Resolves with what is compressed so far, which may be nothing. */
  async push(data: string | Buffer): Promise<Buffer> {
    await new Promise<void>((resolve, reject) => {
      this.stream.write(data, (error) => (error == null ? resolve() : reject(error)));
    });
    return this.take();
  }

  /** Resolves with the rest. */
  async end(data: string): Promise<Buffer> {
    const ended = new Promise((resolve, reject) => this.stream.on("end", resolve).on("error", reject));
    this.stream.end(data);
    await ended;
    return this.take();
  }

  destroy(): void {
    this.stream.destroy();
  }

  private take(): Buffer {
    const bytes = Buffer.concat(this.produced);
    this.produced = [];
    return bytes;
  }
}

function isLong(body: Chunk): boolean {
  return (typeof body === "string" ? Buffer.byteLength(body) : body.length) > COMPRESS_BYTES_MIN;
}

function varying(headers: Fields): Fields {
  const { vary } = headers;
  return { ...headers, vary: vary === undefined ? "Accept-Encoding" : `${vary}, Accept-Encoding` };
}

/** The encoded form is another representation, so it can't share a strong ETag (RFC 9110 section 8.8.3). Conditions accept the weak one. */
function gzipped(headers: Fields): Fields {
  const { etag } = headers;
  return {
    ...headers,
    "content-encoding": "gzip",
    ...(etag === undefined || etag.startsWith("W/") ? {} : { etag: `W/${etag}` }),
  };
}
