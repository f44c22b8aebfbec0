/** What an operator reads of calls in the log, and the ids that tie it to what the client saw. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Writable } from "node:stream";
import { type Logger, pino } from "pino";
import { Registry } from "prom-client";
import { describe, expect } from "vitest";
import { GetRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { KvError } from "../../src/kv/errors.js";
import { HeldMemory } from "../../src/kv/held-memory.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import { NOBODY } from "../../src/service/access-rules.js";
import type { CallInput } from "../../src/service/calls.js";
import type { ApiKeys } from "../../src/service/principal.js";
import { Health } from "../../src/service/health.js";
import { createRegistry } from "../../src/service/registry.js";
import { CallMetrics } from "../../src/telemetry/call-metrics.js";
import { TelemetryObserver } from "../../src/telemetry/call-observer.js";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2, type TestAnswer } from "../support/http-client.js";

type Line = Readonly<Record<string, unknown>>;

/** A log that keeps its lines. */
function keptLog(level: string): { readonly logger: Logger; readonly lines: Line[] } {
  const lines: Line[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _, done) {
      for (const text of chunk.toString().trim().split("\n")) lines.push(JSON.parse(text) as Line);
      done();
    },
  });
  return { logger: pino({ level }, sink), lines };
}

const KEY = "correct-horse-battery";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const log = keptLog("debug");

const it = serviceTest({ "api-key": KEY }, log.logger).extend(
  "ask",
  { scope: "file" },
  ({ service }) =>
    (method: string, path: string, { headers, body, type, http2 }: Asked = {}): Promise<TestAnswer> => {
      const all = {
        authorization: `Bearer ${KEY}`,
        ...(type === undefined ? {} : { "content-type": type }),
        ...headers,
      };
      return (http2 === true ? send2 : send1)(service.url, method, path, {
        headers: all,
        ...(body === undefined ? {} : { body }),
      });
    },
);
it.beforeAll(async ({ ask }) => {
  await ask("POST", "/api/v1/kv/buckets", { body: '{"name":"logged"}', type: "application/json" });
});

interface Asked {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly type?: string;
  readonly http2?: boolean;
}

const called = (requestId: string): Line[] =>
  log.lines.filter((line) => line.msg === "call" && line.request_id === requestId);

const GET = "/ironflow.kv.v1.KeyValueService/Get";
const MESSAGE = '{"bucket":"logged","key":"k"}';
const ENVELOPE = Buffer.from([0, 0, 0, 0, 0]);

/** Every way in, and an answer of each kind: of a door itself, of the service, of the probes and files. */
const REQUESTS: readonly (readonly [string, string, string, Asked])[] = [
  [
    "gRPC",
    "POST",
    GET,
    { type: "application/grpc", body: ENVELOPE, http2: true, headers: { te: "trailers" } },
  ],
  ["gRPC-Web", "POST", GET, { type: "application/grpc-web+proto", body: ENVELOPE }],
  ["Connect, HTTP/1.1", "POST", GET, { type: "application/json", body: MESSAGE }],
  ["Connect, HTTP/2", "POST", GET, { type: "application/json", body: MESSAGE, http2: true }],
  ["Connect, malformed", "POST", GET, { type: "application/json", body: "{" }],
  ["Connect by the stock adapter", "POST", GET, { type: "application/json; x=y", body: MESSAGE }],
  [
    "Connect, compressed",
    "POST",
    GET,
    { type: "application/json", body: MESSAGE, headers: { "content-encoding": "br" } },
  ],
  [
    "a stream",
    "POST",
    "/ironflow.kv.v1.KeyValueService/Watch",
    { type: "application/grpc-web+proto", body: ENVELOPE },
  ],
  ["REST", "PUT", "/api/v1/kv/buckets/logged/keys/k", { body: "v" }],
  ["REST, HTTP/2", "GET", "/api/v1/kv/buckets/logged/keys/k", { http2: true }],
  ["REST, not found", "GET", "/api/v1/kv/buckets/logged/keys/none", {}],
  ["REST, no such path", "GET", "/api/nothing", {}],
  ["REST, no key", "GET", "/api/v1/kv/buckets", { headers: { authorization: "" } }],
  [
    "an upgrade that is refused",
    "GET",
    "/api/v1/kv/buckets/none/watch",
    {
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
      },
    },
  ],
  [
    "no such method",
    "POST",
    "/ironflow.kv.v1.KeyValueService/None",
    { type: "application/json", body: "{}" },
  ],
  ["a probe", "GET", "/readyz", {}],
  ["the metrics", "GET", "/metrics", {}],
  ["a file", "GET", "/", {}],
];

describe.each(REQUESTS)("an answer of %s", (_, method, path, asked) => {
  it("has the request id that the client sent", async ({ ask }) => {
    const id = "client-1.2:3/4+5=6@7~8";
    const answer = await ask(method, path, { ...asked, headers: { ...asked.headers, "x-request-id": id } });
    expect(answer.headers["x-request-id"]).toBe(id);
  });

  it("has a new one where the client sent none, or nothing fit to be one", async ({ ask }) => {
    const ids = new Set<unknown>();
    for (const bad of [undefined, "", "with space", "{}", "ü", "x".repeat(129)]) {
      const headers: Record<string, string> = {
        ...asked.headers,
        ...(bad === undefined ? {} : { "x-request-id": bad }),
      };
      const answer = await ask(method, path, { ...asked, headers });
      expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f]{16}-[0-9a-z]+$/);
      ids.add(answer.headers["x-request-id"]);
    }
    expect(ids.size).toBe(6);
  });
});

describe("a call", () => {
  it.for([
    ["grpc-web", "POST", GET, { type: "application/grpc-web+proto", body: ENVELOPE }, "invalid_argument"],
    ["connect", "POST", GET, { type: "application/json", body: MESSAGE }, "ok"],
    ["rest", "GET", "/api/v1/kv/buckets/logged/keys/none", {}, "not_found"],
  ] as const)("by %s is one line at debug", async ([door, method, path, asked, code], { ask }) => {
    await ask("PUT", "/api/v1/kv/buckets/logged/keys/k", { body: "v" });
    const id = `line-of-${door}`;
    const headers = { "x-request-id": id, traceparent: `00-${TRACE}-b7ad6b7169203331-01` };
    await ask(method, path, { ...asked, headers });
    expect(called(id)).toEqual([
      expect.objectContaining({
        level: 20,
        method: "ironflow.kv.v1.KeyValueService/Get",
        door,
        code,
        duration_ms: expect.any(Number) as number,
        trace_id: TRACE,
        caller: "admin",
      }),
    ]);
  });

  it.for([
    "",
    "00-0-0-01",
    `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
    `ff-${TRACE}-b7ad6b7169203331-01`,
    `00-${TRACE}-b7ad6b7169203331-01-more`,
  ])("whose traceparent is %j has no trace", async (traceparent, { ask }) => {
    const id = `trace-${traceparent.length}-${traceparent.slice(0, 4)}`;
    await ask("GET", "/api/v1/kv/buckets", { headers: { "x-request-id": id, traceparent } });
    const [line] = called(id);
    expect(line).toBeDefined();
    expect(line).not.toHaveProperty("trace_id");
  });

  it("leaves no key, no value and no secret in the log", async ({ ask }) => {
    const path = "/api/v1/kv/buckets/logged/keys/the-secret-key";
    await ask("PUT", path, { body: "the-secret-value" });
    await ask("GET", path);
    await ask("GET", path, { headers: { authorization: "Bearer the-secret-token" } });
    await ask("GET", "/api/v1/kv/buckets/logged/keys/the-secret-key%00");
    await ask("POST", GET, {
      type: "application/json; a=b",
      body: '{"bucket":"logged","key":"the-secret-key"}',
    });
    const message = Buffer.from('{"bucket":"logged","key":"the-secret-key"}').toString("base64url");
    await ask("GET", `${GET}?encoding=json&base64=1&message=${message}`);
    const all = JSON.stringify(log.lines);
    expect(all).toContain("KeyValueService/Put");
    expect(all).not.toContain("the-secret");
    expect(all).not.toContain(message);
    expect(all).not.toContain(KEY);
  });
});

describe("a fault of the service", () => {
  const input = (door: CallInput["protocol"], id: string): CallInput => ({
    protocol: door,
    header: (name) => (name === "x-request-id" ? id : undefined),
    timeoutMs: undefined,
    signal: new AbortController().signal,
    connection: {},
    held: new HeldMemory(),
    remoteAddress: undefined,
  });

  it.each([
    ["an error that nobody foresaw", new TypeError("a cause", { cause: new Error("below it") })],
    [
      "a failure of the storage",
      new KvError("internal", "The storage failed.", {
        bucket: "b",
        key: "the-secret-key",
        cause: new Error("a cause", { cause: new Error("below it") }),
      }),
    ],
  ])("by %s is logged once with its cause, and the client learns the request id alone", async (_, fault) => {
    const { logger, lines } = keptLog("info");
    const observer = new TelemetryObserver({
      metrics: new CallMetrics(new Registry()),
      log: logger,
      tracer: undefined,
    });
    const registry = createRegistry({
      store: {
        bucketCreatedAtMs: () => Promise.resolve(1),
        get: () => Promise.reject(fault),
      } as unknown as Store,
      limits: DEFAULT_LIMITS,
      access: {
        callerOf: () => ({ ...NOBODY, may: () => true }),
        callerOfTicket: () => Promise.reject(new Error("unused")),
      },
      apiKeys: {} as ApiKeys,
      systemBucket: () => ({}) as never,
      health: new Health(() => Promise.resolve()),
      observer,
    });
    const method = registry.methods.get(GET);
    if (method === undefined) throw new Error("no method");
    const request = create(GetRequestSchema, { bucket: "b", key: "the-secret-key" });
    const error: unknown = await registry.unary(method, input("rest", "id-7"), request).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ConnectError);
    const { code, rawMessage } = error as ConnectError;
    expect([code, rawMessage]).toEqual([
      Code.Internal,
      "Internal error. The service's log has the cause, with the request ID id-7.",
    ]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 50, request_id: "id-7", method: GET.slice(1), door: "rest" });
    const { stack } = lines[0]?.err as { stack: string };
    expect(stack).toContain("a cause");
    expect(stack).toContain("below it");
    expect(stack).toContain("logs.test.ts");
    expect(JSON.stringify(lines)).not.toContain("the-secret-key");
    expect(observer.faults).toBe(1);
  });
});
