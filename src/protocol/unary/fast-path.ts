/**
 * The fast path: plain unary calls of any service, answered straight on Node's streams, in all wire forms.
 *
 * It looks at a request's head only, and takes what it is sure to answer as the stock adapter would. What it does not take (streaming
 * methods, compressed requests, unusual content types, malformed time limits, ...) it leaves untouched, for the stock adapter to answer or
 * refuse. So there is one place where such rules live.
 */
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Limits } from "../../kv/limits.js";
import type { ServiceRegistry } from "../../service/calls.js";
import type { Cors } from "../cors.js";
import { isUsableAuthority } from "./authority.js";
import type { CallSettings, RequestHead, UnaryRoute } from "./call.js";
import { createMethodCodec } from "./codec.js";
import { type GetMessage, messageOf } from "./get-request.js";
import { Http1Call } from "./http1-call.js";
import { Http2Call } from "./http2-call.js";
import { timeoutOf } from "./timeout.js";
import { type WireForm, acceptsGzip, formOf, isUncompressed } from "./wire-form.js";

export interface UnaryFastPathOptions {
  readonly registry: Pick<ServiceRegistry, "methods" | "unary">;
  readonly limits: Pick<Limits, "messageBytesMax">;
  readonly log: CallSettings["log"];
  /** Default: calls of web pages (those with `Origin`) are left to the stock adapter. */
  readonly cors?: Pick<Cors, "headersFor"> | undefined;
}

/** Both return whether the call was taken; if not, nothing of it was read or written. */
export interface UnaryFastPath {
  handleHttp1(request: IncomingMessage, response: ServerResponse): boolean;
  /** The stream must have a listener for `error`, as every stream of a server must. */
  handleHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): boolean;
}

/** What both versions of HTTP say of a request. */
interface Incoming {
  readonly method: string | undefined;
  readonly target: string;
  readonly authority: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export function createUnaryFastPath(options: UnaryFastPathOptions): UnaryFastPath {
  return new FastPath(options);
}

class FastPath implements UnaryFastPath {
  private readonly routes: ReadonlyMap<string, UnaryRoute>;
  private readonly settings: CallSettings;

  constructor(private readonly options: UnaryFastPathOptions) {
    const { registry, limits, log } = options;
    this.settings = { registry, messageBytesMax: limits.messageBytesMax, log };
    this.routes = unaryRoutes(registry.methods, limits.messageBytesMax);
  }

  handleHttp1(request: IncomingMessage, response: ServerResponse): boolean {
    const { method, headers } = request;
    const target = request.url ?? "";
    if (request.httpVersionMinor !== 1 || !isUsableAuthority(headers.host)) return false;
    if (method === "POST") {
      const form = formOf(headers);
      // gRPC needs HTTP/2; what the stock adapter makes of it here is its affair.
      if (form === undefined || form.door === "grpc") return false;
      const head = this.headOf(target, form, headers);
      if (head === undefined) return false;
      new Http1Call(this.settings, head, request, response).read();
      return true;
    }
    if (method !== "GET" || hasBody(headers)) return false;
    const found = this.readGet(target, headers);
    if (found === undefined) return false;
    new Http1Call(this.settings, found.head, request, response).answerTo(found.bytes);
    return true;
  }

  handleHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): boolean {
    const method = headers[":method"];
    const target = headers[":path"] as string;
    if (!isUsableAuthority((headers[":authority"] as string | undefined) ?? headers.host)) return false;
    if (method === "POST") {
      const form = formOf(headers);
      if (form === undefined) return false;
      const head = this.headOf(target, form, headers);
      if (head === undefined) return false;
      new Http2Call(this.settings, head, stream).read();
      return true;
    }
    if (method !== "GET" || (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0) return false;
    const found = this.readGet(target, headers);
    if (found === undefined) return false;
    new Http2Call(this.settings, found.head, stream).answerTo(found.bytes);
    return true;
  }
}
