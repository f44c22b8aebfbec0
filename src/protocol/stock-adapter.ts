/** Serves the registry with the Connect library. It handles the calls that the fast path declines. */
import type { DescMethodBiDiStreaming, DescMethodServerStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { HeldMemory } from "../kv/held-memory.js";
import type { BoundMethod, CallInput, Protocol, ServiceRegistry } from "../service/calls.js";
import type { Exchange } from "./exchange.js";
import { type MessageLimits, messageBytesMaxOf } from "./message-limit.js";
import { clientNameOf, remoteAddressOf } from "./peer.js";
import {
  createStockHandler,
  protocolOf,
  SOURCE,
  type StockHandler,
  type StockHandlerOptions,
} from "./stock-handler.js";
import { startUniversal } from "./universal.js";

export interface StockAdapterOptions extends Omit<StockHandlerOptions, "routes" | "count" | "authenticate"> {
  readonly registry: ServiceRegistry;
}

const NEVER = new AbortController().signal;

/** Creates the handler for every method of the registry, in every protocol, over HTTP/1.1 and HTTP/2. */
export function createStockAdapter(options: StockAdapterOptions): StockHandler {
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
    held: new HeldMemory(),
    remoteAddress: remoteAddressOf(socket),
    clientName: clientNameOf(socket),
  };
}

function inputOf(context: HandlerContext): CallInput {
  const source = context.values.get(SOURCE);
  if (source === undefined) throw new Error("The call has no exchange.");
  const { exchange, caller, held } = source;
  const { socket } = exchange;
  return {
    ...{ caller, held },
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
