/** A client that sends exactly what it is told, byte by byte, and reports exactly what came back. */
import { once } from "node:events";
import { type IncomingHttpHeaders, request as httpRequest, type OutgoingHttpHeaders } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";

/** One request, on either version of HTTP. */
export interface RawRequest {
  readonly version: 1 | 2;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The body, in the pieces that it is written in; undefined: none. */
  readonly body: readonly Uint8Array[] | undefined;
}

/** What came back. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
  readonly trailers: Record<string, unknown>;
  /** HTTP/2: the code that the stream was closed with. */
  readonly resetCode: number;
}

/** Fields that say how bytes are framed on this connection, or when: not what was answered. */
const FRAMING = new Set([
  "date",
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  ":status",
]);

/** Each request has an id of its own where the client gives none: then answers would differ by it. */
const REQUEST_ID = { "x-request-id": "the-request" };

/** Sends requests to one port of this machine. */
export class RawClient {
  private session: ClientHttp2Session | undefined;

  constructor(private readonly port: number) {}

  send(request: RawRequest): Promise<RawAnswer> {
    return request.version === 1 ? this.sendHttp1(request) : this.sendHttp2(request);
  }

  close(): void {
    this.session?.destroy();
  }

  private async sendHttp1(request: RawRequest): Promise<RawAnswer> {
    const call = httpRequest({
      port: this.port,
      host: "127.0.0.1",
      agent: false,
      method: request.method,
      path: request.target,
      headers: { ...REQUEST_ID, ...request.headers, ...framingOf(request) },
    });
    for (const piece of request.body ?? []) call.write(piece);
    call.end();
    const [response] = (await once(call, "response")) as [import("node:http").IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return {
      status: response.statusCode ?? 0,
      headers: withoutFraming(response.headers),
      body: Buffer.concat(chunks).toString("latin1"),
      trailers: { ...response.trailers },
      resetCode: 0,
    };
  }

  private async sendHttp2(request: RawRequest): Promise<RawAnswer> {
    const { body } = request;
    if (this.session === undefined || this.session.destroyed) {
      this.session = connect(`http://127.0.0.1:${this.port}`);
      this.session.on("error", () => undefined);
    }
    const stream = this.session.request(
      { ":method": request.method, ":path": request.target, ...REQUEST_ID, ...request.headers },
      { endStream: body === undefined },
    );
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on("response", (fields: IncomingHttpHeaders) => (headers = fields));
    stream.on("trailers", (fields: IncomingHttpHeaders) => (trailers = fields));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => undefined);
    if (body !== undefined) {
      for (const piece of body) stream.write(piece);
      stream.end();
    }
    await once(stream, "close");
    return {
      status: Number(headers[":status"] ?? 0),
      headers: withoutFraming(headers),
      body: Buffer.concat(chunks).toString("latin1"),
      trailers: { ...trailers },
      resetCode: stream.rstCode,
    };
  }
}

/** The answer with its body decoded if it is base64, which can be divided differently. */
export function withBinaryBody(answer: RawAnswer): RawAnswer {
  return isText(answer.headers["content-type"])
    ? { ...answer, body: bytesOfText(answer.body).toString("latin1") }
    : answer;
}

/** The request's body; decoded if it is base64. */
export function binaryBodyOf({ headers, body }: RawRequest): Buffer {
  const bytes = Buffer.concat(body ?? []);
  return isText(headers["content-type"]) ? bytesOfText(bytes.toString("latin1")) : bytes;
}

function isText(type: unknown): boolean {
  return typeof type === "string" && /^application\/grpc-web-text/i.test(type);
}

function bytesOfText(text: string): Buffer {
  return Buffer.concat([...text.matchAll(/[^=]+=*/g)].map(([part]) => Buffer.from(part, "base64")));
}

function framingOf(request: RawRequest): OutgoingHttpHeaders {
  if (request.body === undefined || "content-length" in request.headers) return {};
  return request.body.length === 1
    ? { "content-length": request.body[0]?.length ?? 0 }
    : { "transfer-encoding": "chunked" };
}

function withoutFraming(headers: IncomingHttpHeaders): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !FRAMING.has(name)));
}
