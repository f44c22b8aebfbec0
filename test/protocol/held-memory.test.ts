/** Memory that a call holds is released when its response is encoded and compressed, over every protocol, and also when the call fails. */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect } from "vitest";
import {
  BatchGetResponseSchema,
  GetRequestSchema,
  GetResponseSchema,
  type ListKeysRequest,
  ListKeysResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { envelope } from "../../src/protocol/rpc/envelope.js";
import type { CallInput } from "../../src/service/calls.js";
import { startBridge, type TestBridge } from "../support/http-bridge.js";
import { send1 } from "../support/http-client.js";
import { until } from "../support/until.js";
import { bothPathsTest } from "./both-paths-test.js";
import { RawClient, type RawRequest } from "./raw-client.js";

/** Encoded in several turns of the event loop as JSON. */
const VALUE_BYTES = 8_000_000;
/** The Connect library takes seconds to encode megabytes as JSON. */
const STOCK_VALUE_BYTES = 100_000;
const TURNS_MIN = 3;
const REQUEST = create(GetRequestSchema, { bucket: "b", key: "k" });
const json = Buffer.from(toJsonString(GetRequestSchema, REQUEST));
const binary = toBinary(GetRequestSchema, REQUEST);
const GET = "/ironflow.kv.v1.KeyValueService/Get";
const BUCKET = "/api/v1/kv/buckets/b";

/** What became of the memory of a call. */
class Observed {
  releases = 0;
  /** Turns of the event loop between the end of the handler and the release. */
  turns = 0;

  hold({ held }: CallInput): void {
    const before = this.releases;
    held.add(() => this.releases++);
    const count = (): void => {
      if (this.releases > before) return;
      this.turns++;
      setImmediate(count);
    };
    setImmediate(count);
  }
}

const post = (version: 1 | 2, type: string, body: Uint8Array, headers = {}): RawRequest => ({
  ...{ version, method: "POST", target: GET, body: [body] },
  headers: { "content-type": type, ...headers },
});

const REQUESTS: readonly (readonly [string, RawRequest])[] = [
  ["gRPC", post(2, "application/grpc", envelope(0, binary))],
  ["gRPC with gzip", post(2, "application/grpc", envelope(0, binary), { "grpc-accept-encoding": "gzip" })],
  ["gRPC with JSON", post(2, "application/grpc+json", envelope(0, json))],
  ["gRPC-Web", post(1, "application/grpc-web+proto", envelope(0, binary))],
  ["gRPC-Web with JSON", post(1, "application/grpc-web+json", envelope(0, json))],
  ["Connect", post(1, "application/proto", binary)],
  ["Connect with JSON", post(1, "application/json", json)],
  ["Connect with JSON over HTTP/2", post(2, "application/json", json)],
  ["Connect with JSON and gzip", post(1, "application/json", json, { "accept-encoding": "gzip" })],
];

const PATHS = ["the fast path", "the stock adapter"] as const;
const it = bothPathsTest;

describe.each(PATHS)("%s", (path) => {
  it.for(REQUESTS)("over %s", async ([name, request], { fast, stock }) => {
    const { port, registry } = path === "the fast path" ? fast : stock;
    const client = new RawClient(port);
    const observed = new Observed();
    const value = Buffer.alloc(path === "the fast path" ? VALUE_BYTES : STOCK_VALUE_BYTES, 7);
    registry.handler = (call) => {
      observed.hold(call);
      return Promise.resolve(create(GetResponseSchema, { entry: { value } }));
    };
    const { body } = await client.send(request);
    expect(body.length).toBeGreaterThan(100);
    expect(observed.releases).toBe(1);
    if (path === "the fast path" && name.includes("JSON"))
      expect(observed.turns).toBeGreaterThanOrEqual(TURNS_MIN);

    registry.handler = (call) => {
      observed.hold(call);
      return Promise.reject(new ConnectError("refused", Code.Aborted));
    };
    await client.send(request);
    await until("the memory of the failed call is released", () => observed.releases === 2);

    const canceled = new Promise<void>((resolve) => {
      registry.handler = async (call) => {
        observed.hold(call);
        const { signal } = call;
        resolve();
        await once(signal, "abort");
        throw new ConnectError("canceled", Code.Canceled);
      };
    });
    const other = new RawClient(port);
    const headers = {
      ...request.headers,
      "content-length": String(Buffer.concat(request.body ?? []).length),
    };
    if (request.version === 1) {
      const call = httpRequest({ port, host: "127.0.0.1", agent: false, method: "POST", path: GET, headers });
      call.on("error", () => undefined);
      call.end(Buffer.concat(request.body ?? []));
      await canceled;
      call.destroy();
    } else {
      void other.send(request).catch(() => undefined);
      await canceled;
      other.close();
    }
    await until("the memory of the canceled call is released", () => observed.releases === 3);
    client.close();
    registry.handler = undefined;
  });
});

describe("REST", () => {
  let bridge: TestBridge;
  let observed = new Observed();
  let fails = false;
  /** Whether each page of a list began without memory of an earlier one. */
  const wasFree: boolean[] = [];
  beforeAll(async () => {
    const hold = (call: CallInput): void => {
      wasFree.push(call.held.isEmpty);
      observed.hold(call);
      if (fails) throw new ConnectError("refused", Code.Aborted);
    };
    bridge = await startBridge({
      batchGet(_: never, call: CallInput) {
        hold(call);
        const entry = { key: "k", value: Buffer.alloc(VALUE_BYTES, 7) };
        return create(BatchGetResponseSchema, { results: [{ key: "k", entry }] });
      },
      listKeys({ pageToken }: ListKeysRequest, call: CallInput) {
        hold(call);
        const page = Number(pageToken) + 1;
        return create(ListKeysResponseSchema, {
          keys: ["x".repeat(100_000)],
          nextPageToken: page === 4 ? "" : String(page),
        });
      },
    });
  });
  afterAll(() => bridge.close());

  it.for([{}, { "accept-encoding": "gzip" }])("batches; request headers: %j", async (headers) => {
    observed = new Observed();
    const batch = { headers: { "content-type": "application/json", ...headers }, body: '{"keys":["k"]}' };
    expect((await send1(bridge.url, "POST", `${BUCKET}/batch-get`, batch)).status).toBe(200);
    expect(observed.releases).toBe(1);
    expect(observed.turns).toBeGreaterThanOrEqual(TURNS_MIN);
    fails = true;
    expect((await send1(bridge.url, "POST", `${BUCKET}/batch-get`, batch)).status).toBe(409);
    fails = false;
    await until("the memory of the failed call is released", () => observed.releases === 2);
  });

  it.for([{}, { "accept-encoding": "gzip" }])("lists, page by page; request headers: %j", async (headers) => {
    observed = new Observed();
    wasFree.length = 0;
    const { text, json: list } = await send1(bridge.url, "GET", `${BUCKET}/keys`, { headers });
    if (list === undefined) expect(text).not.toBe("");
    else expect(list).toMatchObject({ count: 4 });
    expect(wasFree).toEqual([true, true, true, true]);
    expect(observed.releases).toBe(4);
  });
});
