/** The HTTP doors on a bare server and a registry that records what it is asked: for tests of the translation alone. */
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { once } from "node:events";
import { createServer } from "node:http";
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket,
} from "node:net";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { Http2Server } from "@ironflow-kv/http2";
import { DEFAULT_LIMITS, type Limits } from "../../src/kv/limits.js";
import { NodeHttp1Exchange } from "../../src/listener/http1/node-exchange.js";
import { NodeUpgrade } from "../../src/listener/http1/node-upgrade.js";
import { StreamExchange } from "../../src/listener/http2/stream-exchange.js";
import { createCors } from "../../src/protocol/cors.js";
import { createPageGuard } from "../../src/protocol/page-guard.js";
import { createRestHandler } from "../../src/protocol/rest/handler.js";
import { createWatchUpgrade } from "../../src/protocol/watch/websocket.js";
import type { BoundMethod, CallInput, ServiceRegistry } from "../../src/service/calls.js";

/** A call that reached the registry. */
export interface SeenCall {
  readonly name: string;
  readonly input: CallInput;
  readonly request: MessageShape<DescMessage>;
}

export type Answers = Readonly<Record<string, (request: never, input: CallInput) => unknown>>;

/** A registry that answers by method name (`get`, `watch`); without an entry, with an empty message. */
export function recordingRegistry(answers: Answers): ServiceRegistry & { readonly calls: SeenCall[] } {
  const methods = new Map<string, BoundMethod>();
  for (const service of [BucketService, KeyValueService]) {
    for (const desc of service.methods) {
      const path = `/${service.typeName}/${desc.name}`;
      methods.set(path, {
        path,
        service,
        desc,
        handler: (): Promise<never> => Promise.reject(new Error("unused")),
      });
    }
  }
  const calls: SeenCall[] = [];
  const answer = (method: BoundMethod, input: CallInput, request: MessageShape<DescMessage>): unknown => {
    calls.push({ name: method.desc.localName, input, request });
    return answers[method.desc.localName]?.(request as never, input) ?? create(method.desc.output);
  };
  return {
    methods,
    calls,
    authenticate: () => undefined,
    unary: async (method, input, request) =>
      (await answer(method, input, request)) as MessageShape<DescMessage>,
    stream: async (method, input, request) =>
      (await answer(method, input, request)) as AsyncIterableIterator<MessageShape<DescMessage>>,
    duplex: () => Promise.reject(new Error("unused")),
  };
}

export interface TestBridge {
  /** HTTP/1.1. */
  readonly url: string;
  readonly port: number;
  /** HTTP/2 in cleartext. */
  readonly http2Url: string;
  readonly registry: ReturnType<typeof recordingRegistry>;
  /** Faults that the bridge logged. */
  readonly faults: unknown[];
  close(): Promise<void>;
}

export async function startBridge(
  answers: Answers,
  options: { limits?: Partial<Limits>; allowedOrigins?: readonly string[] | "*" } = {},
): Promise<TestBridge> {
  const registry = recordingRegistry(answers);
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const faults: unknown[] = [];
  const log = { error: ({ err }: { err: unknown }) => void faults.push(err) };
  const cors = createCors({ allowedOrigins: options.allowedOrigins ?? "*" });
  const rest = createRestHandler({ registry, limits, cors, log });
  const http1 = createServer((request, response) => rest.handle(new NodeHttp1Exchange(request, response)));
  http1.on("checkContinue", (request, response) =>
    rest.handle(new NodeHttp1Exchange(request, response, true)),
  );
  const upgrade = createWatchUpgrade({
    registry,
    limits,
    pageGuard: createPageGuard(cors, () => false),
    log,
  });
  http1.on("upgrade", (request, socket, head) => upgrade(new NodeUpgrade(request, socket, head)));
  const sessions = new Http2Server({ limits, onStream: (stream) => rest.handle(new StreamExchange(stream)) });
  const http2 = createNetServer({ noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    sessions.accept(socket);
  });
  const sockets = new Set<Socket>();
  for (const server of [http1, http2]) server.on("connection", (socket: Socket) => sockets.add(socket));
  const [port, http2Port] = [await listen(http1), await listen(http2)];
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    http2Url: `http://127.0.0.1:${http2Port}`,
    registry,
    faults,
    async close() {
      for (const socket of sockets) socket.destroy();
      sessions.stop();
      await Promise.all([closed(http1), closed(http2)]);
    },
  };
}

async function listen(server: NetServer): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function closed(server: NetServer): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
