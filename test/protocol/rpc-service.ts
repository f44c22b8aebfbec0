/**
 * The contract's methods with handlers that need no storage: what a request's key says is what happens. Served twice on the service's own
 * listener: through the fast path, and through the stock adapter alone.
 */
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  type GetRequest,
  GetResponseSchema,
  KeyValueService,
  type WatchRequest,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Exchange } from "../../src/protocol/exchange.js";
import { createFastPath } from "../../src/protocol/fast-path.js";
import { asBinaryGrpcWeb } from "../../src/protocol/grpc-web-text.js";
import { createStockAdapter } from "../../src/protocol/stock-adapter.js";
import { REQUEST_ID_HEADER, requestIdOf } from "../../src/protocol/request-id.js";
import { type Listener, listen } from "../../src/listener/listener.js";
import type { BoundMethod, CallInput, MessageStream, ServiceRegistry } from "../../src/service/calls.js";
import { answerStream } from "./stream-answers.js";

/** Small, so that going over it is cheap. */
export const MESSAGE_BYTES_MAX = 4_000;

/** A handler that a test puts in place of the usual ones. */
export type TestHandler = (
  call: CallInput,
  request: MessageShape<DescMessage>,
) => Promise<MessageShape<DescMessage>>;

/** As {@link TestHandler}, for streams. */
export type TestStreamHandler = (
  call: CallInput,
  request: WatchRequest,
) => MessageStream<MessageShape<DescMessage>>;

/** Both services; every method answers by `answerByKey` unless `handler` is set. */
export class TestRegistry implements ServiceRegistry {
  readonly methods = new Map<string, BoundMethod>();
  handler: TestHandler | undefined;
  /** Default: `answerStream`. */
  streamHandler: TestStreamHandler | undefined;
  /** What a stream waits for before it is in place. */
  placeStream: (() => Promise<void>) | undefined;

  authenticate(): undefined {
    return undefined;
  }

  constructor() {
    for (const service of [BucketService, KeyValueService]) {
      for (const desc of service.methods) {
        const path = `/${service.typeName}/${desc.name}`;
        this.methods.set(path, {
          path,
          service,
          desc,
          handler: notCalled,
        });
      }
    }
  }

  async unary(method: BoundMethod, call: CallInput, request: MessageShape<DescMessage>) {
    if (this.handler !== undefined) return this.handler(call, request);
    return answerByKey(method, call, request as GetRequest);
  }

  async stream(_method: BoundMethod, call: CallInput, request: MessageShape<DescMessage>) {
    await this.placeStream?.();
    return (this.streamHandler ?? answerStream)(call, request as WatchRequest);
  }

  duplex(): Promise<never> {
    return Promise.reject(new ConnectError("not here", Code.Unimplemented));
  }
}

function notCalled(): Promise<never> {
  return Promise.reject(new Error("not called"));
}

function answerByKey(method: BoundMethod, call: CallInput, request: GetRequest): MessageShape<DescMessage> {
  const { key } = request;
  switch (key) {
    case "error":
      throw new ConnectError("ünsaid: 100%\n", Code.Aborted);
    case "detail":
      throw new ConnectError("with a detail", Code.OutOfRange, undefined, [
        { desc: ErrorDetailSchema, value: { reason: "revision_mismatch", key, revision: 7n } },
      ]);
    case "metadata":
      throw new ConnectError("with metadata", Code.NotFound, {
        "x-more": call.header("x-sent") ?? "none",
        "x-more-bin": "AAEC",
      });
    case "long error":
      throw new ConnectError("long ".repeat(400), Code.DataLoss);
    case "fault":
      throw new TypeError("a fault that no client may read");
  }
  if (method.desc.output !== GetResponseSchema) return create(method.desc.output);
  const seen = `${call.protocol} ${call.timeoutMs === undefined ? "no limit" : "limit"} ${call.header("x-sent") ?? ""}`;
  return create(GetResponseSchema, {
    entry: {
      key,
      value: Buffer.alloc(key === "large" ? 3_000 : 3, key),
      contentType: seen,
      revision: request.revision,
    },
  });
}

export interface TestServer {
  readonly registry: TestRegistry;
  readonly port: number;
  /** Calls that the fast path took. */
  readonly taken: number;
  /** What was logged as an error. */
  readonly logged: readonly unknown[];
  stop(): Promise<void>;
}

/** Starts the listener with the fast path on or off. */
export async function startTestServer(isFast: boolean): Promise<TestServer> {
  const registry = new TestRegistry();
  const limits = { ...DEFAULT_LIMITS, messageBytesMax: MESSAGE_BYTES_MAX };
  const logged: unknown[] = [];
  const log = { error: (...entry: unknown[]) => void logged.push(entry) };
  const adapter = createStockAdapter({ registry, limits, log });
  // The doors give every answer its request's id; the fast path does so itself.
  const stock = (exchange: Exchange): void => {
    exchange.commonFields[REQUEST_ID_HEADER] = requestIdOf(exchange.headers);
    adapter(exchange);
  };
  const fast = createFastPath({ registry, limits, log });
  let taken = 0;
  const listener: Listener = await listen({
    host: "127.0.0.1",
    port: 0,
    limits,
    tls: undefined,
    handler: {
      handle(request) {
        const exchange = asBinaryGrpcWeb(request);
        if (isFast && fast.handle(exchange)) taken++;
        else stock(exchange);
      },
      handleSimple(request) {
        const exchange = asBinaryGrpcWeb(request);
        const isTaken = isFast && fast.handleUnary(exchange);
        if (isTaken) taken++;
        return isTaken;
      },
      handleUpgrade: ({ socket }) => socket.destroy(),
    },
  });
  return {
    registry,
    port: listener.port,
    get taken() {
      return taken;
    },
    logged,
    stop: () => listener.drain(0),
  };
}
