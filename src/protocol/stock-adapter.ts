/**
 * Serves the registry with the Connect library: every protocol, streaming, compression. It handles the calls that the fast path declines.
 *
 * It takes the place of the library's `connectNodeAdapter`, which needs Node's own classes, throws outside of the handler on a malformed
 * authority (and so crashes the process) and logs failures to the console.
 */
import type {
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  JsonReadOptions,
  JsonWriteOptions,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextKey,
  type HandlerContext,
  createConnectRouter,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import type { BoundMethod, CallInput, Protocol, ServiceRegistry } from "../service/calls.js";
import type { Principal } from "../service/principal.js";
import { counted } from "./counted.js";
import type { Exchange } from "./exchange.js";
import { clientNameOf, remoteAddressOf } from "./peer.js";
import { REQUEST_ID_HEADER } from "./request-id.js";
import { failingBody, limitedBody, limitedCompression } from "./limited-body.js";
import { isUsableAuthority } from "./rpc/authority.js";
import { withCorrectTrailers } from "./grpc-web.js";
import { limitTimeout } from "./library-timeout.js";
import { isOurs, type MessageLimits, messageBytesMaxOf, messageLimitOf } from "./message-limit.js";
import { GET_HEADERS } from "./rpc/fields.js";
import { encodeGrpcMessage } from "./rpc/grpc-message.js";
import { sendUniversal, startUniversal, universalRequestOf } from "./universal.js";

type Handler = (exchange: Exchange) => void;

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

export interface StockAdapterOptions extends Omit<
  StockHandlerOptions,
  "routes" | "count" | "authenticate" | "limits"
> {
  readonly registry: ServiceRegistry;
  readonly limits: MessageLimits;
}

/** Connect unary: the body is the message. */
const UNENVELOPED = /^application\/(proto|json)\b/i;
const NEVER = new AbortController().signal;

/** What the library's context lacks. */
interface CallSource {
  readonly exchange: Exchange;
  readonly caller: Principal | undefined;
}

const SOURCE: ContextKey<CallSource | undefined> = createContextKey<CallSource | undefined>(undefined, {
  description: "source of the call",
});

/** Creates the handler for every method of the registry, in every protocol, over HTTP/1.1 and HTTP/2. */
export function createStockAdapter(options: StockAdapterOptions): Handler {
  const { registry } = options;
  return createStockHandler({
    ...options,
    authenticate(path, exchange) {
      const method = registry.methods.get(path);
      return method === undefined ? undefined : registry.authenticate(method, headInput(exchange));
    },
    count(path, protocol, receivedBytes, sentBytes) {
      const method = registry.methods.get(path);
      if (method !== undefined) registry.observer?.transferred(method, protocol, receivedBytes, sentBytes);
    },
    routes(router) {
      for (const method of registry.methods.values()) addRoute(router, registry, method, options.limits);
    },
  });
}

/** Creates a handler for any services. Unknown paths get a 404, a malformed authority a 400. */
export function createStockHandler(options: StockHandlerOptions): Handler {
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
    const contextValues = createContextValues().set(SOURCE, { exchange, caller });
    handler({ ...call, contextValues, body })
      .then((answer) => {
        if (answer.body !== undefined) {
          if (protocol === "grpc-web") answer.body = withCorrectTrailers(answer.body);
          answer.body = counted(answer.body, (bytes) => options.count?.(path, protocol, 0, bytes));
        }
        return sendUniversal(exchange, exchange.method === "GET" ? uncached(answer) : answer);
      })
      .catch((error: unknown) => {
        if (!exchange.isClosed) fail(error, "a call failed");
        if (exchange.hasResponded) exchange.reset();
        else exchange.respond(500, exchange.commonFields);
      });
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

function addRoute(
  router: ConnectRouter,
  registry: ServiceRegistry,
  method: BoundMethod,
  limits: MessageLimits,
): void {
  switch (method.desc.methodKind) {
    case "unary":
      router.rpc(
        method.desc as DescMethodUnary,
        (request, context) => registry.unary(method, inputOf(context), request),
        { readMaxBytes: messageBytesMaxOf(method.desc, limits) },
      );
      break;
    case "server_streaming":
      router.rpc(method.desc as DescMethodServerStreaming, async function* (request, context) {
        try {
          const messages = await registry.stream(method, inputOf(context), request);
          // The library sends the head with the first message, which a watch may not have for a long time.
          const exchange = context.values.get(SOURCE)?.exchange;
          if (exchange !== undefined) startUniversal(exchange, context.responseHeader);
          yield* messages;
        } catch (error) {
          // The library aborts the signal at the deadline, which the stream sees as a cancellation.
          throw isExpired(context.signal) ? context.signal.reason : error;
        }
      });
      break;
    case "bidi_streaming":
      router.rpc(method.desc as DescMethodBiDiStreaming, async function* (requests, context) {
        yield* await registry.duplex(method, inputOf(context), released(requests, context));
      });
      break;
    case "client_streaming":
      throw new Error(`${method.path}: ${method.desc.methodKind} methods are not served`);
  }
}

/** The input of a call whose headers arrived. */
function headInput(exchange: Exchange): CallInput {
  const { headers, socket } = exchange;
  return {
    protocol: protocolOf(headers["content-type"]),
    header: (name) => headers[name]?.toString(),
    timeoutMs: undefined,
    signal: NEVER,
    connection: socket,
    remoteAddress: remoteAddressOf(socket),
    clientName: clientNameOf(socket),
  };
}

function inputOf(context: HandlerContext): CallInput {
  const source = context.values.get(SOURCE);
  if (source === undefined) throw new Error("The call has no exchange.");
  const { exchange, caller } = source;
  const { socket } = exchange;
  return {
    caller,
    // The library uses the same names.
    protocol: context.protocolName as Protocol,
    header: (name) => context.requestHeader.get(name) ?? undefined,
    // The library's timer and clock can differ by a millisecond.
    timeoutMs: isExpired(context.signal) ? 0 : context.timeoutMs(),
    signal: context.signal,
    connection: socket,
    get remoteAddress() {
      return remoteAddressOf(socket);
    },
    get clientName() {
      return clientNameOf(socket);
    },
  };
}

/** The messages of a stream. Those that the handler received are no longer held. */
async function* released<Item>(messages: AsyncIterable<Item>, context: HandlerContext): AsyncIterable<Item> {
  const exchange = context.values.get(SOURCE)?.exchange;
  for await (const message of messages) {
    exchange?.releaseBody();
    yield message;
  }
}

function isExpired({ aborted, reason }: AbortSignal): boolean {
  return aborted && ConnectError.from(reason).code === Code.DeadlineExceeded;
}

/** Detects the protocol by its content type. Connect GETs have none. */
function protocolOf(contentType: string | undefined): Protocol {
  if (contentType?.startsWith("application/grpc-web") === true) return "grpc-web";
  return contentType?.startsWith("application/grpc") === true ? "grpc" : "connect";
}
