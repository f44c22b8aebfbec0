/** Calls without a pause and without retries of ours, by the clients that people use: what a restart does to calls in flight shows here. */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, makeGenericClientConstructor, type requestCallback } from "@grpc/grpc-js";
import { Agent, request } from "node:http";
import {
  GetRequestSchema,
  GetResponseSchema,
  KeyValueService,
  PutRequestSchema,
  PutResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";

/** One way of writing a value, and of reading it again. */
export interface LoadClient {
  readonly name: string;
  put(key: string, value: Uint8Array): Promise<void>;
  get(key: string): Promise<Uint8Array>;
  close(): void;
}

export function loadClients(url: string, bucket: string): LoadClient[] {
  return [
    grpcJsClient(url, bucket),
    connectClient("connect-node, gRPC", createGrpcTransport({ baseUrl: url }), bucket),
    connectClient(
      "connect-node, Connect",
      createConnectTransport({ baseUrl: url, httpVersion: "2" }),
      bucket,
    ),
    restClient(url, bucket),
  ];
}

/** What the loops of one client saw. */
export interface LoadCount {
  readonly name: string;
  calls: number;
  /** Calls that the client's own HTTP/2 library refused before it had sent them, and that were made again (RFC 9113 section 8.7). */
  unsent: number;
  readonly failures: string[];
}

export class Load {
  readonly counts: readonly LoadCount[];
  private isOver = false;
  private readonly loops: Promise<void>[] = [];

  constructor(
    private readonly clients: readonly LoadClient[],
    loopsPerClient: number,
  ) {
    this.counts = clients.map(({ name }) => ({ name, calls: 0, unsent: 0, failures: [] }));
    for (const [index, client] of clients.entries()) {
      const count = this.counts[index];
      if (count === undefined) continue;
      for (let loop = 0; loop < loopsPerClient; loop++) {
        this.loops.push(this.run(client, count, `${index}.${loop}`));
      }
    }
  }

  get calls(): number {
    return this.counts.reduce((total, { calls }) => total + calls, 0);
  }

  get failures(): readonly string[] {
    return this.counts.flatMap(({ name, failures }) => failures.map((failure) => `${name}: ${failure}`));
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.loops);
    for (const client of this.clients) client.close();
  }

  private async call<Result>(count: LoadCount, make: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        const result = await make();
        count.calls++;
        return result;
      } catch (error) {
        if (!isUnsent(error)) throw error;
        count.unsent++;
      }
    }
  }

  /** Each loop has a key of its own: what it reads must be what it wrote last. */
  private async run(client: LoadClient, count: LoadCount, key: string): Promise<void> {
    for (let round = 1; !this.isOver; round++) {
      const value = `${key} ${round}`;
      try {
        await this.call(count, () => client.put(key, new TextEncoder().encode(value)));
        const read = new TextDecoder().decode(await this.call(count, () => client.get(key)));
        if (read !== value) count.failures.push(`wrote ${value} and read ${read}`);
      } catch (error) {
        const { message, cause } = error as Error;
        count.failures.push(cause instanceof Error ? `${message} (${cause.message})` : message);
      }
    }
  }
}

/**
 * Node's HTTP/2 client refuses requests that it was given but has not written yet when a GOAWAY arrives, whatever that says. gRPC's
 * libraries make these again by themselves.
 */
function isUnsent(error: unknown): boolean {
  return error instanceof ConnectError && error.rawMessage.includes("NGHTTP2_REFUSED_STREAM");
}

function connectClient(name: string, transport: Transport, bucket: string): LoadClient {
  const client = createClient(KeyValueService, transport);
  return {
    name,
    async put(key, value) {
      await client.put({ bucket, key, value });
    },
    get: async (key) => (await client.get({ bucket, key })).entry?.value ?? new Uint8Array(),
    close: () => undefined,
  };
}

function grpcJsClient(url: string, bucket: string): LoadClient {
  const Client = makeGenericClientConstructor(
    {
      put: grpcMethod("Put", PutRequestSchema, PutResponseSchema),
      get: grpcMethod("Get", GetRequestSchema, GetResponseSchema),
    },
    "KeyValueService",
  );
  const client = new Client(new URL(url).host, credentials.createInsecure());
  const call = <Response>(name: "put" | "get", message: unknown): Promise<Response> =>
    new Promise((resolve, reject) => {
      const method = client[name] as (message: unknown, done: requestCallback<Response>) => void;
      method.call(client, message, (error, response) => {
        if (response === undefined) reject(error ?? new Error("no answer"));
        else resolve(response);
      });
    });
  return {
    name: "grpc-js",
    async put(key, value) {
      await call("put", create(PutRequestSchema, { bucket, key, value }));
    },
    async get(key) {
      const { entry } = await call<MessageShape<typeof GetResponseSchema>>(
        "get",
        create(GetRequestSchema, { bucket, key }),
      );
      return entry?.value ?? new Uint8Array();
    },
    close: () => client.close(),
  };
}

function grpcMethod<Input extends DescMessage, Output extends DescMessage>(
  name: string,
  input: Input,
  output: Output,
) {
  return {
    path: `/${KeyValueService.typeName}/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message: MessageShape<Input>) => Buffer.from(toBinary(input, message)),
    requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
    responseSerialize: (message: MessageShape<Output>) => Buffer.from(toBinary(output, message)),
    responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
  };
}

/** REST on connections that are kept and used again. */
function restClient(url: string, bucket: string): LoadClient {
  const agent = new Agent({ keepAlive: true });
  const call = (method: string, key: string, body?: Uint8Array): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const path = `/api/v1/kv/buckets/${bucket}/keys/${key}?raw=true`.replace(
        method === "PUT" ? "?raw=true" : "",
        "",
      );
      const outgoing = request(new URL(path, url), { method, agent }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          const bytes = Buffer.concat(chunks);
          if (answer.statusCode === 200) resolve(bytes);
          else reject(new Error(`${answer.statusCode ?? 0} ${bytes.toString()}`));
        });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  return {
    name: "REST, HTTP/1.1 keep-alive",
    async put(key, value) {
      await call("PUT", key, value);
    },
    get: (key) => call("GET", key),
    close: () => agent.destroy(),
  };
}
