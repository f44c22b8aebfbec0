/** Limits that all protocols share: exceeding one affects nothing else. */
import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createClient, type KeyValue } from "@ironflow-kv/client";
import { send1 } from "../support/http-client.js";
import { startTestService, type TestService } from "../support/service.js";

const BUCKETS = "/api/v1/kv/buckets";
const OPERATOR = "the-key-of-the-operator";

describe("beyond a limit", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({
      "connections-max": "5",
      "streams-per-connection-max": "3",
      "buckets-max": "2",
    });
    await send1(service.url, "POST", BUCKETS, { body: '{"name":"b"}' });
  });
  afterAll(() => service.remove());

  it("connections are closed, and accepted again after others closed", async () => {
    const sockets = Array.from({ length: 5 }, () => connect(service.port, "127.0.0.1"));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    await expect
      .poll(() =>
        send1(service.url, "GET", "/healthz").then(
          () => "answered",
          () => "closed",
        ),
      )
      .toBe("closed");
    for (const socket of sockets) socket.destroy();
    await expect
      .poll(() =>
        send1(service.url, "GET", "/healthz").then(
          ({ status }) => status,
          () => "closed",
        ),
      )
      .toBe(200);
  });

  it("streams of one HTTP/2 connection are refused, and the others continue", async () => {
    const session = connectHttp2(service.url);
    // Node's client would wait by itself once it knows the limit.
    const open = () => {
      const stream = session.request(
        { ":path": `${BUCKETS}/b/watch`, accept: "text/event-stream" },
        { endStream: true },
      );
      stream.on("error", () => undefined);
      return stream;
    };
    const watches = [open(), open(), open()];
    const refused = open();
    await new Promise((resolve) => refused.on("close", resolve));
    expect(refused.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
    const answers = await Promise.all(watches.map((watch) => once(watch, "data")));
    expect(String(answers[0]?.[0])).toMatch(/^:\n\n/);
    session.destroy();
  });

  it("no more buckets are created until one is deleted", async () => {
    const create = async (name: string): Promise<unknown[]> => {
      const { status, json } = await send1(service.url, "POST", BUCKETS, { body: JSON.stringify({ name }) });
      return [status, json];
    };
    expect((await create("second"))[0]).toBe(201);
    expect(await create("third")).toMatchObject([507, { code: "storage_exhausted" }]);
    expect((await create("third"))[1]).toMatchObject({
      error: expect.stringContaining("BUCKETS_MAX") as string,
    });
    await send1(service.url, "DELETE", `${BUCKETS}/second`);
    expect((await create("third"))[0]).toBe(201);
  });
});

describe("an API key at its bucket limit", () => {
  it("creates no more until it deletes one; others can", async () => {
    const service = await startTestService({ "api-key": OPERATOR, "buckets-per-api-key-max": "2" });
    onTestFinished(() => service.remove());
    const kvOf = (apiKey: string): KeyValue =>
      createClient({ serverUrl: service.url, apiKey, retry: false }).kv();
    const newKey = async (): Promise<string> => {
      const keys = createClient({ serverUrl: service.url, apiKey: OPERATOR }).apiKeys();
      return (await keys.create({ name: "of a team", scopes: [{ accesses: ["admin"], buckets: "*" }] }))
        .secret;
    };
    const [first, second] = [kvOf(await newKey()), kvOf(await newKey())];
    for (const name of ["a", "b"]) await first.createBucket({ name });
    // An update does not count, also of a bucket that another API key created.
    await second.updateBucket("a", { description: "changed" });
    const refusal = expect.stringContaining("2 buckets that still exist, the maximum is 2") as string;
    await expect(first.createBucket({ name: "c" })).rejects.toMatchObject({ message: refusal });
    for (const name of ["d", "e"]) await second.createBucket({ name });
    await expect(second.createBucket({ name: "f" })).rejects.toMatchObject({ reason: "storage_exhausted" });
    for (const name of ["g", "h", "i"]) await kvOf(OPERATOR).createBucket({ name });
    await kvOf(OPERATOR).deleteBucket("a");
    await first.createBucket({ name: "c" });
    await expect(first.createBucket({ name: "j" })).rejects.toMatchObject({ message: refusal });
  });
});

describe("large values", () => {
  let service: TestService;
  const count = 100;
  const value = Buffer.alloc(1_048_576, "x");
  beforeAll(async () => {
    // A loaded machine may need long for a hundred megabytes.
    service = await startTestService({ "call-timeout-ms": "60000" });
    await send1(service.url, "POST", BUCKETS, { body: '{"name":"b"}' });
    for (let index = 0; index < count; index++) {
      await send1(service.url, "PUT", `${BUCKETS}/b/keys/k${index}`, { body: value });
    }
  });
  afterAll(() => service.remove());

  /** NATS cuts a connection for which too much waits; writes under way would then have an unknown outcome. */
  it("can be read concurrently without losing a write", async () => {
    const reads = Array.from({ length: count }, (_, index) =>
      send1(service.url, "GET", `${BUCKETS}/b/keys/k${index}?raw=true`),
    );
    const writes = Array.from({ length: 20 }, (_, index) =>
      send1(service.url, "PUT", `${BUCKETS}/b/keys/w${index}`, { body: "w" }),
    );
    const sizes = (await Promise.all(reads)).map(({ status, bytes }) => `${status} ${bytes.length}`);
    expect(new Set(sizes)).toEqual(new Set([`200 ${value.length}`]));
    expect(new Set((await Promise.all(writes)).map(({ status }) => status))).toEqual(new Set([200]));
  });
});
