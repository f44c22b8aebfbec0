// Node clients of the same service, each with `get`, `put` and, where it can, a `snapshot` of the bucket "many" that counts its entries.
import { connect } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient as createRpcClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, makeGenericClientConstructor } from "@grpc/grpc-js";
import { createClient } from "@ironflow-kv/client";
import {
  GetRequestSchema,
  GetResponseSchema,
  KeyValueService,
  PutRequestSchema,
  PutResponseSchema,
  WatchRequestSchema,
  WatchResponseSchema,
} from "@ironflow-kv/client/gen";
import { Kvm } from "@nats-io/kv";
import { connect as connectNats } from "@nats-io/transport-node";

const KEYS = 1_000;

export async function clients({ serverUrl, natsUrl, value }) {
  const sdk = createClient({ serverUrl }).kv();
  await sdk.createBucket({ name: "b" });
  await sdk.createBucket({ name: "many" });
  await sdk.bucket("b").put("key", value);
  let count = 0;
  const nextKey = () => `key.${count++ % KEYS}`;
  const shared = { nextKey, value };
  return [
    { ...sdkClient("SDK", sdk, shared), fill: (entries) => fill(sdk.bucket("many"), entries, value) },
    sdkClient("SDK over fetch", createClient({ serverUrl, fetch: globalThis.fetch }).kv(), shared),
    grpcJsClient(serverUrl, shared),
    rpcClient(
      "connect-node, Connect",
      createConnectTransport({ baseUrl: serverUrl, httpVersion: "2" }),
      shared,
    ),
    rpcClient("connect-node, gRPC", createGrpcTransport({ baseUrl: serverUrl }), shared),
    await rawClient(serverUrl),
    await natsClient(natsUrl, shared),
  ];
}

async function fill(bucket, entries, value) {
  let next = 0;
  const writer = async () => {
    while (next < entries) await bucket.put(`user.${next++}`, value);
  };
  await Promise.all(Array.from({ length: 256 }, writer));
}

function sdkClient(name, kv, { nextKey, value }) {
  const bucket = kv.bucket("b");
  return {
    name,
    get: () => bucket.get("key"),
    put: () => bucket.put(nextKey(), value),
    async snapshot() {
      let entries = 0;
      for await (const event of kv.bucket("many").watch([], { marks: true })) {
        if (event.type === "snapshot_end") break;
        entries++;
      }
      return entries;
    },
  };
}

function rpcClient(name, transport, { nextKey, value }) {
  const client = createRpcClient(KeyValueService, transport);
  return {
    name,
    get: () => client.get({ bucket: "b", key: "key" }),
    put: () => client.put({ bucket: "b", key: nextKey(), value }),
    async snapshot() {
      let entries = 0;
      const controller = new AbortController();
      for await (const { event } of client.watch({ bucket: "many" }, { signal: controller.signal })) {
        if (event.case === "snapshotEnd") break;
        entries++;
      }
      controller.abort();
      return entries;
    },
  };
}

function grpcJsClient(serverUrl, { nextKey, value }) {
  const method = (name, input, output, responseStream) => ({
    path: `/ironflow.kv.v1.KeyValueService/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: (message) => Buffer.from(toBinary(input, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, message)),
  });
  const Client = makeGenericClientConstructor({
    get: method("Get", GetRequestSchema, GetResponseSchema, false),
    put: method("Put", PutRequestSchema, PutResponseSchema, false),
    watch: method("Watch", WatchRequestSchema, WatchResponseSchema, true),
  });
  const client = new Client(new URL(serverUrl).host, credentials.createInsecure());
  const unary = (name, request) =>
    new Promise((resolve, reject) => {
      client[name](request, (error, response) => (error ? reject(error) : resolve(response)));
    });
  return {
    name: "grpc-js",
    get: () => unary("get", create(GetRequestSchema, { bucket: "b", key: "key" })),
    put: () => unary("put", create(PutRequestSchema, { bucket: "b", key: nextKey(), value })),
    async snapshot() {
      let entries = 0;
      const call = client.watch(create(WatchRequestSchema, { bucket: "many" }));
      call.on("error", () => undefined);
      for await (const { event } of call) {
        if (event.case === "snapshotEnd") break;
        entries++;
      }
      call.cancel();
      return entries;
    },
  };
}

/** The least that a client on node:http2 can do: fixed bytes, nothing decoded, no time limit. */
async function rawClient(serverUrl) {
  const session = connect(serverUrl);
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  const body = toBinary(GetRequestSchema, create(GetRequestSchema, { bucket: "b", key: "key" }));
  const headers = {
    ":method": "POST",
    ":path": "/ironflow.kv.v1.KeyValueService/Get",
    "content-type": "application/proto",
    "connect-protocol-version": "1",
  };
  const get = () =>
    new Promise((resolve) => {
      const stream = session.request(headers);
      stream.resume().on("end", resolve);
      stream.end(body);
    });
  return { name: "raw node:http2, nothing decoded", get };
}

/** The storage's own client, without the service. */
async function natsClient(natsUrl, { nextKey, value }) {
  const kv = await new Kvm(await connectNats({ servers: natsUrl })).create("b");
  await kv.put("key", value);
  return {
    name: "@nats-io/kv, without the service",
    get: () => kv.get("key"),
    put: () => kv.put(nextKey(), value),
  };
}
