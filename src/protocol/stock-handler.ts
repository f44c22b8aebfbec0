/**
 * Serves any services with the Connect library: every protocol, streaming, compression. It takes the place of the library's
 * `connectNodeAdapter`, which needs Node's own classes, throws outside of the handler on a malformed authority (and so crashes the process)
 * and logs failures to the console.
 */
import type { JsonReadOptions, JsonWriteOptions } from "@bufbuild/protobuf";
import {
  Code,
  type ConnectRouter,
  type ContextKey,
  createConnectRouter,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { HeldMemory } from "../kv/held-memory.js";
import type { Protocol } from "../service/calls.js";
import type { Principal } from "../service/principal.js";
import { counted } from "./counted.js";
import type { Exchange } from "./exchange.js";
import { REQUEST_ID_HEADER } from "./request-id.js";
import { failingBody, limitedBody, limitedCompression } from "./limited-body.js";
import { isUsableAuthority } from "./rpc/authority.js";
import { withCorrectTrailers } from "./grpc-web.js";
import { limitTimeout } from "./library-timeout.js";
import { isOurs, type MessageLimits, messageLimitOf } from "./message-limit.js";
import { GET_HEADERS } from "./rpc/fields.js";
import { encodeGrpcMessage } from "./rpc/grpc-message.js";
import { sendUniversal, universalRequestOf } from "./universal.js";

export type StockHandler = (exchange: Exchange) => void;

export interface StockHandlerOptions {
  /** Registers the services. */
  readonly routes: (router: ConnectRouter) => void;
  readonly limits: MessageLimits;
  readonly log: Pick<Logger, "error">;
  /** Aborts every call's signal. Default: none. */
  readonly shutdownSignal?: AbortSignal | undefined;
  /** ProtoJSON options. Default: unknown fields are ignored. */
  readonly jsonOptions?: Partial<JsonReadOptions & JsonWriteOptions> | undefined;
  /** Throws, before the body is read, for a caller that may make no call. Default: every caller may. */
  readonly authenticate?: ((path: string, exchange: Exchange) => Principal | undefined) | undefined;
  /** Called with the size of each chunk of a body. Default: not counted. */
  readonly count?:
    ((path: string, protocol: Protocol, receivedBytes: number, sentBytes: number) => void) | undefined;
}

/** Connect unary: the body is the message. */
const UNENVELOPED = /^application\/(proto|json)\b/i;

/** What the library's context lacks. */
export interface CallSource {
  readonly exchange: Exchange;
  readonly held: HeldMemory;
  readonly caller: Principal | undefined;
}

export const SOURCE: ContextKey<CallSource | undefined> = createContextKey<CallSource | undefined>(
  undefined,
  {
    description: "source of the call",
  },
);

/** Creates a handler for any services. Unknown paths get a 404, a malformed authority a 400. */
export function createStockHandler(options: StockHandlerOptions): StockHandler {
  const router: ConnectRouter = createConnectRouter({
    readMaxBytes: options.limits.messageBytesMax,
    // No brotli: at the library's level it costs a hundred times as much as gzip.
    acceptCompression: [
      limitedCompression(compressionGzip, () => router.handlers.some(({ method }) => isOurs(method))),
    ],
    requireConnectProtocolHeader: false,
    ...(options.shutdownSignal === undefined ? {} : { shutdownSignal: options.shutdownSignal }),
    ...(options.jsonOptions === undefined ? {} : { jsonOptions: options.jsonOptions }),
  });
  options.routes(router);
  const routes = new Map(
    router.handlers.map((handler) => [
      handler.requestPath,
      { handler, limit: messageLimitOf(handler.method, options.limits) },
    ]),
  );

  return (exchange) => {
    const route = routes.get(exchange.target.split("?", 1)[0] ?? "");
    if (route === undefined) {
      refuseUnknown(exchange);
      return;
    }
    const { handler, limit } = route;
    const { requestPath: path } = handler;
    const fail = (error: unknown, sentence: string): void => {
      const requestId = exchange.headers[REQUEST_ID_HEADER];
      options.log.error({ err: error, method: path.slice(1), request_id: requestId }, sentence);
    };
    const call = readableOf(exchange, fail);
    if (call === undefined) {
      exchange.respond(400, exchange.commonFields);
      return;
    }
    limitTimeout(call.header);
    const protocol = protocolOf(exchange.headers["content-type"]);
    let caller: Principal | undefined;
    const isEnveloped = !UNENVELOPED.test(call.header.get("content-type") ?? "");
    let body = limitedBody(
      counted(call.body, (bytes) => options.count?.(path, protocol, bytes, 0)),
      isEnveloped,
      limit,
    );
    if (!isEnveloped && Number(call.header.get("content-length")) > limit.bytesMax) {
      // The library would refuse the length with an error of its own.
      call.header.delete("content-length");
      body = failingBody(limit.tooLarge());
    }
    try {
      caller = options.authenticate?.(path, exchange);
    } catch (error) {
      // The library answers in the form of the protocol.
      body = failingBody(error);
    }
    const held = new HeldMemory();
    const contextValues = createContextValues().set(SOURCE, { exchange, held, caller });
    handler({ ...call, contextValues, body })
      .then((answer) => {
        if (answer.body !== undefined) {
          if (protocol === "grpc-web") answer.body = withCorrectTrailers(answer.body);
          answer.body = counted(answer.body, (bytes) => {
            // A unary response is encoded as a whole before its first bytes are sent.
            held.release();
            options.count?.(path, protocol, 0, bytes);
          });
        }
        return sendUniversal(exchange, exchange.method === "GET" ? uncached(answer) : answer);
      })
      .catch((error: unknown) => {
        if (!exchange.isClosed) fail(error, "a call failed");
        if (exchange.hasResponded) exchange.reset();
        else exchange.respond(500, exchange.commonFields);
      })
      .finally(() => held.release());
  };
}

/** There is no such method. gRPC clients get a status with trailers only (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). */
function refuseUnknown(exchange: Exchange): void {
  const { headers, commonFields, target } = exchange;
  const type = headers["content-type"] ?? "";
  const path = target.split("?", 1)[0]?.slice(0, 200) ?? "";
  const message = `There is no method ${path}.`;
  if (!type.startsWith("application/grpc")) {
    exchange.respond(404, commonFields);
    return;
  }
  exchange.respond(200, {
    ...commonFields,
    "content-type": type.split(";", 1)[0] ?? type,
    "grpc-status": String(Code.Unimplemented),
    "grpc-message": encodeGrpcMessage(message),
  });
}

function uncached(answer: UniversalServerResponse): UniversalServerResponse {
  const header = new Headers(answer.header);
  for (const [name, value] of Object.entries(GET_HEADERS)) header.set(name, value);
  return { ...answer, header };
}

/** The library's form of a request; undefined if its authority or target is malformed, such as `*` or `//[`. */
function readableOf(
  exchange: Exchange,
  fail: (error: unknown, sentence: string) => void,
): ReturnType<typeof universalRequestOf> | undefined {
  if (!isUsableAuthority(exchange.authority)) return undefined;
  try {
    return universalRequestOf(exchange);
  } catch (error) {
    fail(error, "a request could not be read");
    return undefined;
  }
}

/** Detects the protocol by its content type. Connect GETs have none. */
export function protocolOf(contentType: string | undefined): Protocol {
  if (contentType?.startsWith("application/grpc-web") === true) return "grpc-web";
  return contentType?.startsWith("application/grpc") === true ? "grpc" : "connect";
}
