/** Decides by its head alone whether a request takes a fast path. */
import type { DescMethodServerStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { IncomingHttpHeaders } from "node:http";
import type { ServiceRegistry } from "../../service/calls.js";
import { CONNECT_STREAM_FORMS, CONNECT_UNARY_FORMS, messageOfQuery } from "../connect.js";
import type { Cors } from "../cors.js";
import { type MessageLimits, messageLimitOf } from "../message-limit.js";
import { GRPC_FORMS } from "../grpc.js";
import { GRPC_WEB_FORMS } from "../grpc-web.js";
import { requestIdOf } from "../request-id.js";
import type { RequestHead, Route } from "./call.js";
import { type JsonOptions, createMethodCodec } from "./codec.js";
import { SharedFrames } from "./frames.js";
import { timeoutOf } from "./timeout.js";
import { type WireForm, acceptsGzip, isUncompressed } from "./protocol.js";

export interface AdmissionOptions {
  readonly registry: Pick<ServiceRegistry, "methods">;
  readonly limits: MessageLimits;
  /** Default: calls of web pages (those with `Origin`) are left to the stock adapter. */
  readonly cors?: Pick<Cors, "headersFor"> | undefined;
  /** The same as the stock adapter's. */
  readonly jsonOptions?: JsonOptions | undefined;
}

/** An admitted GET: its message is in its target. */
export interface AdmittedGet {
  readonly head: RequestHead;
  readonly bytes: Uint8Array;
}

const UNARY_FORMS = new Map([...GRPC_FORMS, ...GRPC_WEB_FORMS, ...CONNECT_UNARY_FORMS]);
const STREAM_FORMS = new Map([...GRPC_FORMS, ...GRPC_WEB_FORMS, ...CONNECT_STREAM_FORMS]);

export class Admission {
  private readonly routes: ReadonlyMap<string, Route>;

  constructor(private readonly options: AdmissionOptions) {
    this.routes = routesOf(options);
  }

  /** The head of an admitted POST; undefined if the stock adapter must handle the request. */
  post(target: string, headers: IncomingHttpHeaders): RequestHead | undefined {
    const route = this.routes.get(target);
    if (route === undefined) return undefined;
    const form = (route.isUnary ? UNARY_FORMS : STREAM_FORMS).get(headers["content-type"] ?? "");
    if (form === undefined || !isUncompressed(form, headers)) return undefined;
    // Content-Length alone shows that an unenveloped message is too large.
    if (!form.isEnveloped && Number(headers["content-length"]) > route.limit.bytesMax) {
      return undefined;
    }
    return this.headOf(route, form, headers);
  }

  /** As `post`, for a Connect GET. */
  get(target: string, headers: IncomingHttpHeaders): AdmittedGet | undefined {
    const pathEnd = target.indexOf("?");
    if (pathEnd < 0 || headers["content-type"] !== undefined) return undefined;
    const route = this.routes.get(target.slice(0, pathEnd));
    if (route?.isUnary !== true || route.method.desc.idempotency !== Idempotency.NO_SIDE_EFFECTS) {
      return undefined;
    }
    const message = messageOfQuery(target.slice(pathEnd + 1));
    if (message === undefined) return undefined;
    const head = this.headOf(route, message.form, headers);
    return head === undefined ? undefined : { head, bytes: message.bytes };
  }

  private headOf(route: Route, form: WireForm, headers: IncomingHttpHeaders): RequestHead | undefined {
    const timeoutMs = timeoutOf(form, headers);
    if (timeoutMs === "malformed") return undefined;
    const { cors } = this.options;
    if (cors === undefined && headers.origin !== undefined) return undefined;
    return {
      route,
      form,
      headers,
      requestId: requestIdOf(headers),
      timeoutMs,
      acceptsGzip: acceptsGzip(form, headers),
      corsHeaders: cors?.headersFor(headers),
    };
  }
}

function routesOf(options: AdmissionOptions): Map<string, Route> {
  const routes = new Map<string, Route>();
  for (const [path, method] of options.registry.methods) {
    const { methodKind } = method.desc;
    if (methodKind !== "unary" && methodKind !== "server_streaming") continue;
    const desc = method.desc as DescMethodUnary | DescMethodServerStreaming;
    const limit = messageLimitOf(desc, options.limits);
    const codec = createMethodCodec(desc, limit.bytesMax, options.jsonOptions);
    const frames = new SharedFrames(codec);
    routes.set(path, { method, isUnary: methodKind === "unary", limit, codec, frames });
  }
  return routes;
}
