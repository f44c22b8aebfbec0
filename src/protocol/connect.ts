/**
 * Serves the registry with the Connect library: every protocol, streaming, compression. It handles the calls that the fast path declines.
 *
 * It uses parts of the library's `connectNodeAdapter`, not the adapter itself, which throws outside of the handler on a malformed authority
 * (and so crashes the process) and logs failures to the console.
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
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Logger } from "pino";
import type { Limits } from "../kv/limits.js";
import type { BoundMethod, CallInput, Door, ServiceRegistry } from "../service/calls.js";
import { connectionOf as connectionOfStream } from "./node-stream.js";
import { counted } from "./counted.js";
import { clientNameOf, remoteAddressOf } from "./peer.js";
import { REQUEST_ID_HEADER } from "./request-id.js";
import { isUsableAuthority } from "./rpc/authority.js";

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;
type Handler = (request: Request, response: Response) => void;

export interface StockHandlerOptions {
  /** Registers the services. */
  readonly routes: (router: ConnectRouter) => void;
  readonly limits: Pick<Limits, "messageBytesMax">;
  readonly log: Pick<Logger, "error">;
  /** Aborts every call's signal. Default: none. */
  readonly shutdownSignal?: AbortSignal | undefined;
  /** ProtoJSON options. Default: unknown fields are ignored. */
  readonly jsonOptions?: Partial<JsonReadOptions & JsonWriteOptions> | undefined;
  /** Called with the size of each chunk of a body. Default: not counted. */
  readonly count?: ((path: string, door: Door, receivedBytes: number, sentBytes: number) => void) | undefined;
}

export interface ConnectAdapterOptions extends Omit<StockHandlerOptions, "routes" | "count"> {
  readonly registry: ServiceRegistry;
}

/** Slightly less than the longest delay of a Node timer, 2^31 - 1 milliseconds. */
const TIMER_MS_MAX = 2_147_483_000;

/** The connection of a call, which the library's context lacks. */
const CONNECTION: ContextKey<object> = createContextKey<object>({}, { description: "connection" });

/** Creates the handler for every method of the registry, in every protocol, over HTTP/1.1 and HTTP/2. */
export function createConnectAdapter(options: ConnectAdapterOptions): Handler {
  const { registry } = options;
  return createStockHandler({
    ...options,
    count(path, door, receivedBytes, sentBytes) {
      const method = registry.methods.get(path);
      if (method !== undefined) registry.observer?.transferred(method, door, receivedBytes, sentBytes);
    },
    routes(router) {
      for (const method of registry.methods.values()) addRoute(router, registry, method);
    },
  });
}

/** Creates a handler for any services. Unknown paths get a 404, a malformed authority a 400. */
export function createStockHandler(options: StockHandlerOptions): Handler {
  const router = createConnectRouter({
    readMaxBytes: options.limits.messageBytesMax,
    // No brotli: at the library's level it costs a hundred times as much as gzip.
    acceptCompression: [compressionGzip],
    requireConnectProtocolHeader: false,
    ...(options.shutdownSignal === undefined ? {} : { shutdownSignal: options.shutdownSignal }),
    ...(options.jsonOptions === undefined ? {} : { jsonOptions: options.jsonOptions }),
  });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  return (request, response) => {
    const handler = handlers.get(request.url?.split("?", 1)[0] ?? "");
    if (handler === undefined) {
      refuse(response, 404);
      return;
    }
    if (!isUsableAuthority(authorityOf(request))) {
      refuse(response, 400);
      return;
    }
    const values = createContextValues().set(CONNECTION, connectionOf(request));
    try {
      const call = universalRequestFromNodeRequest(request, response, undefined, values);
      discardRest(request, response);
      limitTimeout(call.header);
      // By default, the library destroys the request on return; the unread body would then block the HTTP/1.1 connection.
      const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
      const { requestPath: path } = handler;
      const door = doorOf(request.headers["content-type"]);
      handler({ ...call, body: counted(body, (bytes) => options.count?.(path, door, bytes, 0)) })
        .then((answer) => {
          if (answer.body !== undefined) {
            answer.body = counted(answer.body, (bytes) => options.count?.(path, door, 0, bytes));
          }
          return universalResponseToNodeResponse(answer, response);
        })
        .catch((error: unknown) => giveUp(request, response, error, options.log, path));
    } catch (error) {
      // The target is not a path, such as `*` or `//[`.
      options.log.error(
        { err: error, request_id: request.headers[REQUEST_ID_HEADER] },
        "a request could not be read",
      );
      refuse(response, 400);
    }
  };
}

function addRoute(router: ConnectRouter, registry: ServiceRegistry, method: BoundMethod): void {
  switch (method.desc.methodKind) {
    case "unary":
      router.rpc(method.desc as DescMethodUnary, (request, context) =>
        registry.unary(method, inputOf(context), request),
      );
      break;
    case "server_streaming":
      router.rpc(method.desc as DescMethodServerStreaming, async function* (request, context) {
        yield* await registry.stream(method, inputOf(context), request);
      });
      break;
    case "bidi_streaming":
      router.rpc(method.desc as DescMethodBiDiStreaming, async function* (requests, context) {
        yield* await registry.duplex(method, inputOf(context), requests);
      });
      break;
    case "client_streaming":
      throw new Error(`${method.path}: ${method.desc.methodKind} methods are not served`);
  }
}

function inputOf(context: HandlerContext): CallInput {
  return {
    // The library uses the same names.
    door: context.protocolName as Door,
    header: (name) => context.requestHeader.get(name) ?? undefined,
    // The library's timer and clock can differ by a millisecond.
    timeoutMs: isExpired(context.signal) ? 0 : context.timeoutMs(),
    signal: context.signal,
    connection: context.values.get(CONNECTION),
    get remoteAddress() {
      return remoteAddressOf(this.connection);
    },
    get clientName() {
      return clientNameOf(this.connection);
    },
  };
}

function isExpired({ aborted, reason }: AbortSignal): boolean {
  return aborted && ConnectError.from(reason).code === Code.DeadlineExceeded;
}

/** Detects the protocol by its content type. Connect GETs have none. */
function doorOf(contentType: string | undefined): Door {
  if (contentType?.startsWith("application/grpc-web") === true) return "grpc-web";
  return contentType?.startsWith("application/grpc") === true ? "grpc" : "connect";
}

function connectionOf(request: Request): object {
  return "stream" in request ? connectionOfStream(request) : request.socket;
}

function authorityOf(request: Request): string | undefined {
  return "authority" in request ? request.authority : request.headers.host;
}

/** Caps timeouts at 24 days: the library's timer would expire at once beyond that. */
function limitTimeout(headers: Headers): void {
  if ((parseGrpcTimeout(headers.get("grpc-timeout"), TIMER_MS_MAX).timeoutMs ?? 0) > TIMER_MS_MAX) {
    headers.set("grpc-timeout", `${TIMER_MS_MAX / 1_000}S`);
  }
  if ((parseConnectTimeout(headers.get("connect-timeout-ms"), TIMER_MS_MAX).timeoutMs ?? 0) > TIMER_MS_MAX) {
    headers.set("connect-timeout-ms", `${TIMER_MS_MAX}`);
  }
}

/** Discards the unread rest of a request's body after the response, so it does not block the connection. Node does so if nothing was read. */
function discardRest(request: Request, response: Response): void {
  if ("stream" in request) return;
  // Read rather than reset: the client may send its whole request before it reads the response.
  response.once("finish", () => {
    if (!request.readableEnded) request.resume();
  });
}

function refuse(response: Response, status: 400 | 404): void {
  response.statusCode = status;
  response.end();
}

/** Handles a failure that the library did not answer itself: usually a client that disconnected, which the library reports as `aborted`. */
function giveUp(
  request: Request,
  response: Response,
  error: unknown,
  log: StockHandlerOptions["log"],
  path: string,
): void {
  if (ConnectError.from(error).code !== Code.Aborted && !isHangUp(error)) {
    const facts = { err: error, method: path.slice(1), request_id: request.headers[REQUEST_ID_HEADER] };
    log.error(facts, "a call failed");
  }
  if (!response.headersSent) {
    response.statusCode = 500;
    response.end();
  } else if (!response.writableEnded) {
    // Reset instead of end, so the client does not mistake a truncated response for a complete one.
    response.destroy();
  }
}

/** Whether the client disconnected during the response. */
function isHangUp(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  const { code } = (cause instanceof Error ? cause : error) as NodeJS.ErrnoException;
  return HANG_UP_CODES.has(String(code));
}

const HANG_UP_CODES = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED", "ERR_STREAM_PREMATURE_CLOSE"]);
