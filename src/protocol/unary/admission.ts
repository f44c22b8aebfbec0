/** Which requests the fast path takes, by their heads alone. */
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { IncomingHttpHeaders } from "node:http";
import type { Limits } from "../../kv/limits.js";
import type { ServiceRegistry } from "../../service/calls.js";
import type { Cors } from "../cors.js";
import type { RequestHead, UnaryRoute } from "./call.js";
import { type JsonOptions, createMethodCodec } from "./codec.js";
import { messageOf } from "./get-request.js";
import { timeoutOf } from "./timeout.js";
import { type WireForm, acceptsGzip, formOf, isUncompressed } from "./wire-form.js";

export interface AdmissionOptions {
  readonly registry: Pick<ServiceRegistry, "methods">;
  readonly limits: Pick<Limits, "messageBytesMax">;
  /** Default: calls of web pages (those with `Origin`) are left to the stock adapter. */
  readonly cors?: Pick<Cors, "headersFor"> | undefined;
  /** As the stock adapter's. */
  readonly jsonOptions?: JsonOptions | undefined;
}

/** A GET that was taken: its message came with its head. */
export interface AdmittedGet {
  readonly head: RequestHead;
  readonly bytes: Uint8Array;
}

export class Admission {
  private readonly routes: ReadonlyMap<string, UnaryRoute>;

  constructor(private readonly options: AdmissionOptions) {
    this.routes = unaryRoutes(options);
  }

  /** What a POST asks for; undefined where it is not for the fast path. */
  post(target: string, headers: IncomingHttpHeaders): RequestHead | undefined {
    const route = this.routes.get(target);
    const form = formOf(headers);
    if (route === undefined || form === undefined) return undefined;
    if (!isUncompressed(form, headers)) return undefined;
    // The body of a Connect call is the message: one that says it is too large need not be read.
    if (form.door === "connect" && Number(headers["content-length"]) > this.options.limits.messageBytesMax) {
      return undefined;
    }
    return this.headOf(route, form, headers);
  }

  /** What a Connect GET asks for; undefined where it is not for the fast path. */
  get(target: string, headers: IncomingHttpHeaders): AdmittedGet | undefined {
    const pathEnd = target.indexOf("?");
    if (pathEnd < 0 || headers["content-type"] !== undefined) return undefined;
    const route = this.routes.get(target.slice(0, pathEnd));
    if (route?.method.desc.idempotency !== Idempotency.NO_SIDE_EFFECTS) return undefined;
    const message = messageOf(target.slice(pathEnd + 1));
    if (message === undefined) return undefined;
    const head = this.headOf(route, message.form, headers);
    return head === undefined ? undefined : { head, bytes: message.bytes };
  }

  private headOf(route: UnaryRoute, form: WireForm, headers: IncomingHttpHeaders): RequestHead | undefined {
    const timeoutMs = timeoutOf(form, headers);
    if (timeoutMs === "malformed") return undefined;
    const { cors } = this.options;
    if (cors === undefined && headers.origin !== undefined) return undefined;
    return {
      route,
      form,
      headers,
      timeoutMs,
      acceptsGzip: acceptsGzip(form, headers),
      corsHeaders: cors?.headersFor(headers),
    };
  }
}

function unaryRoutes(options: AdmissionOptions): Map<string, UnaryRoute> {
  const routes = new Map<string, UnaryRoute>();
  for (const [path, method] of options.registry.methods) {
    if (method.desc.methodKind !== "unary") continue;
    const codec = createMethodCodec(
      method.desc as DescMethodUnary,
      options.limits.messageBytesMax,
      options.jsonOptions,
    );
    routes.set(path, { method, codec });
  }
  return routes;
}
