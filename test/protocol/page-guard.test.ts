/** Requests from disallowed web pages are rejected in every protocol, by their origin and by the host name. */
import { cors as connectCors } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import { isLoopbackOrigin, mayBeRebound } from "../../src/protocol/loopback.js";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2 } from "../support/http-client.js";
import { startTestService } from "../support/service.js";
import { refusedUpgrade, WatchClient } from "../support/watch-client.js";

const BUCKETS = "/api/v1/kv/buckets";
const WATCH = `${BUCKETS}/b/watch`;
const LIST = "/ironflow.kv.v1.BucketService/ListBuckets";

/** What a page may try, door by door. */
const CALLS: readonly (readonly [
  door: string,
  method: string,
  path: string,
  headers: Record<string, string>,
])[] = [
  ["REST", "GET", BUCKETS, {}],
  ["SSE", "GET", WATCH, { accept: "text/event-stream" }],
  ["Connect", "POST", LIST, { "content-type": "application/json" }],
  ["Connect GET", "GET", `${LIST}?connect=v1&encoding=json&message=%7B%7D`, {}],
  ["gRPC-Web", "POST", LIST, { "content-type": "application/grpc-web+proto" }],
  ["the stock adapter", "POST", LIST, { "content-type": "application/json", "content-encoding": "gzip" }],
  ["the console", "GET", "/", {}],
  ["health", "GET", "/healthz", {}],
  ["nothing", "GET", "/nobody", {}],
];

const it = serviceTest().extend("listed", { scope: "file" }, ({ startService }) =>
  startService({ "allowed-origins": "https://app.example.com, https://b.example:8443" }),
);
it.beforeAll(async ({ service, listed }) => {
  for (const { url } of [service, listed]) await send1(url, "POST", BUCKETS, { body: '{"name":"b"}' });
});

describe("a page", () => {
  it.for(CALLS)(
    "of another origin is refused by %s, and may read nothing",
    async ([, method, path, headers], { service, listed }) => {
      for (const { url } of [service, listed]) {
        for (const origin of [
          "https://evil.example",
          "null",
          "https://app.example.com.evil.example",
          "https://APP.example.com",
        ]) {
          for (const send of [send1, send2]) {
            const answer = await send(url, method, path, { headers: { ...headers, origin } });
            expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([403, undefined]);
            expect(answer.json).toMatchObject({ code: "permission_denied" });
            const preflight = { origin, "access-control-request-method": method };
            const asked = await send(url, "OPTIONS", path, { headers: preflight });
            expect([asked.status, asked.headers["access-control-allow-origin"]]).toEqual([403, undefined]);
          }
        }
      }
    },
  );

  it.for(CALLS.slice(0, 5))(
    "of an origin that is listed may call %s and read the answer",
    async ([door, method, path, headers], { listed }) => {
      if (door === "SSE") return;
      const origin = "https://b.example:8443";
      for (const send of [send1, send2]) {
        const body = method === "POST" ? (door === "Connect" ? "{}" : Buffer.alloc(5)) : undefined;
        const answer = await send(listed.url, method, path, {
          headers: { ...headers, origin },
          ...(body === undefined ? {} : { body }),
        });
        expect([answer.status, answer.headers["access-control-allow-origin"], answer.headers.vary]).toEqual([
          200,
          origin,
          "Origin",
        ]);
      }
    },
  );

  it("served by this machine may call by default", async ({ service }) => {
    for (const origin of [
      "http://localhost:5173",
      "http://127.0.0.1:3000",
      "https://app.localhost",
      "http://[::1]:80",
    ]) {
      const { status, headers } = await send1(service.url, "GET", BUCKETS, { headers: { origin } });
      expect([status, headers["access-control-allow-origin"]]).toEqual([200, origin]);
    }
  });

  it("of the service itself may call, even if it is not in the list", async ({ listed }) => {
    const own = { origin: listed.url, host: new URL(listed.url).host };
    expect((await send1(listed.url, "GET", BUCKETS, { headers: own })).status).toBe(200);
    (await WatchClient.open(listed.url, WATCH, { headers: own })).socket.close();
  });

  it("of another origin can't open a WebSocket", async ({ listed, service }) => {
    expect((await refusedUpgrade(listed.url, WATCH, { origin: "https://evil.example" }))[0]).toBe(403);
    expect((await refusedUpgrade(service.url, WATCH, { origin: "https://evil.example" }))[0]).toBe(403);
    (
      await WatchClient.open(listed.url, WATCH, { headers: { origin: "https://app.example.com" } })
    ).socket.close();
  });

  it("gets from a preflight all that Connect and gRPC-Web clients need, for two hours", async ({
    service,
  }) => {
    const headers = { origin: "http://localhost:1", "access-control-request-method": "POST" };
    for (const path of [BUCKETS, LIST]) {
      const answer = await send1(service.url, "OPTIONS", path, { headers });
      expect([answer.status, answer.headers["access-control-max-age"]]).toEqual([204, "7200"]);
      const list = (name: string): string[] =>
        (answer.headers[`access-control-${name}`] ?? "").toLowerCase().split(", ");
      expect(list("allow-methods")).toEqual(
        expect.arrayContaining(["get", "put", "delete", "patch", "post"]),
      );
      expect(list("allow-headers")).toEqual(
        expect.arrayContaining([
          ...connectCors.allowedHeaders.map((name) => name.toLowerCase()),
          ...["authorization", "if-match", "if-none-match", "last-event-id", "x-request-id"],
        ]),
      );
      expect(list("expose-headers")).toEqual(
        expect.arrayContaining([
          ...connectCors.exposedHeaders.map((name) => name.toLowerCase()),
          ...["etag", "retry-after", "x-request-id"],
        ]),
      );
    }
  });
});

describe("a page whose domain resolves to 127.0.0.1 (DNS rebinding)", () => {
  it.for(CALLS)("is refused by %s", async ([, method, path, headers], { service }) => {
    const host = `rebound.evil.example:${service.port}`;
    const rebound = await send1(service.url, method, path, { headers: { ...headers, host } });
    expect([rebound.status, rebound.json]).toMatchObject([403, { code: "permission_denied" }]);
    const same = { ...headers, host, origin: `http://${host}` };
    expect((await send1(service.url, method, path, { headers: same })).status).toBe(403);
    const http2 = await send2(service.url, method, path, { headers: { ...headers, ":authority": host } });
    expect(http2.status).toBe(403);
  });

  it("can't open a WebSocket", async ({ service }) => {
    expect((await refusedUpgrade(service.url, WATCH, { host: "rebound.evil.example" }))[0]).toBe(403);
  });

  it.each<[string, Record<string, string>]>([
    ["needs a key", { "api-key": "0123456789abcdef" }],
    ["is open to all on purpose", { "allow-anonymous": "true" }],
  ])("is no concern of a service that %s", async (_name, settings) => {
    const other = await startTestService(settings);
    try {
      const { status } = await send1(other.url, "GET", "/healthz", { headers: { host: "kv.example.com" } });
      expect(status).toBe(200);
    } finally {
      await other.remove();
    }
  });

  it.each([
    ["localhost:9123", false],
    ["app.localhost", false],
    ["127.0.0.1:9123", false],
    ["192.168.1.7", false],
    ["[::1]:9123", false],
    ["kv", false],
    ["evil.example", true],
    ["evil.example:9123", true],
    ["127.0.0.1.evil.example", true],
    ["localhost.evil.example", true],
    ["LOCALHOST", false],
    ["127.0.0.1:9123.evil.example", true],
  ])("may have the name %j: %s", (authority, expected) => {
    expect(mayBeRebound(authority)).toBe(expected);
  });

  it.each([
    ["http://localhost", true],
    ["https://localhost:8443", true],
    ["http://127.9.9.9:1", true],
    ["http://[::1]", true],
    ["http://localhost.evil.example", false],
    ["http://evil.example", false],
    ["http://localhost:80.evil.example", false],
    ["file://localhost", false],
    ["null", false],
    ["http://127.0.0.1.evil.example", false],
    ["http://localhost@evil.example", false],
  ])("%s is a page of this machine: %s", (origin, expected) => {
    expect(isLoopbackOrigin(origin)).toBe(expected);
  });
});
