/** Watches as server-sent events: the events against a real service, over both versions of HTTP, and how slow clients end. */
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { request as httpRequest } from "node:http";
import type { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { WatchRequest } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { change, FakeWatch } from "../support/fake-watch.js";
import { startBridge, type TestBridge } from "../support/http-bridge.js";
import { send1 } from "../support/http-client.js";
import { freshName, startTestService, type TestService } from "../support/service.js";

const BUCKETS = "/api/v1/kv/buckets";
const ACCEPT = { accept: "text/event-stream" };

interface Stream {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Readable;
  readonly leave: () => void;
}

async function open1(url: string, path: string, headers: Record<string, string> = {}): Promise<Stream> {
  const { hostname, port } = new URL(url);
  const request = httpRequest({ hostname, port, path, agent: false, headers: { ...ACCEPT, ...headers } });
  request.end();
  const [response] = (await once(request, "response")) as [import("node:http").IncomingMessage];
  response.on("error", () => undefined);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: response,
    leave: () => request.destroy(),
  };
}

async function open2(url: string, path: string, headers: Record<string, string> = {}): Promise<Stream> {
  const session = connectHttp2(url);
  session.on("error", () => undefined);
  const stream = session.request({ ":path": path, ...ACCEPT, ...headers });
  stream.on("error", () => undefined);
  const [answer] = (await once(stream, "response")) as [Record<string, unknown>];
  return {
    status: answer[":status"] as number,
    headers: answer,
    body: stream,
    leave: () => session.destroy(),
  };
}

interface Event {
  readonly id?: string;
  readonly data: unknown;
}

/** Reads events until there are this many, or the stream ends; comments are left out. */
async function read(body: Readable, count: number): Promise<Event[]> {
  const events: Event[] = [];
  let text = "";
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const block = text.slice(0, end);
      text = text.slice(end + 2);
      const data = /(?:^|\n)data: ([^\n\r]*)/.exec(block)?.[1];
      const id = /(?:^|\n)id: ([^\n\r]*)/.exec(block)?.[1];
      if (data !== undefined) events.push({ ...(id === undefined ? {} : { id }), data: JSON.parse(data) });
    }
    if (events.length >= count) break;
  }
  return events;
}

describe.each([
  ["HTTP/1.1", open1],
  ["HTTP/2", open2],
])("with a service over %s", (_, open) => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  }, 60_000);
  afterAll(() => service.remove());

  async function newBucket(): Promise<string> {
    const name = freshName("sse");
    await send1(service.url, "POST", BUCKETS, { body: JSON.stringify({ name, history: 5 }) });
    return name;
  }
  const put = async (bucket: string, key: string, body: string): Promise<number> => {
    const { json } = await send1(service.url, "PUT", `${BUCKETS}/${bucket}/keys/${key}`, { body });
    return (json as { revision: number }).revision;
  };

  it("sends the present values, then the changes, with their revisions as ids", async () => {
    const bucket = await newBucket();
    const first = await put(bucket, "a", "1");
    const stream = await open(service.url, `${BUCKETS}/${bucket}/watch?key=a`);
    expect([stream.status, stream.headers["content-type"], stream.headers["cache-control"]]).toEqual([
      200,
      "text/event-stream",
      "no-store",
    ]);
    const second = await put(bucket, "a", "2");
    expect(await read(stream.body, 2)).toEqual([
      {
        id: String(first),
        data: { type: "kv_update", key: "a", value: "MQ==", revision: first, operation: "put", bucket },
      },
      {
        id: String(second),
        data: { type: "kv_update", key: "a", value: "Mg==", revision: second, operation: "put", bucket },
      },
    ]);
    stream.leave();
  });

  it("goes on after Last-Event-ID, whatever the URL says of the start", async () => {
    const bucket = await newBucket();
    const first = await put(bucket, "a", "1");
    await put(bucket, "b", "2");
    for (const query of ["", "?initial=false", "?start_revision=1"]) {
      const stream = await open(service.url, `${BUCKETS}/${bucket}/watch${query}`, {
        "last-event-id": String(first),
      });
      expect(await read(stream.body, 1)).toMatchObject([{ data: { key: "b" } }]);
      stream.leave();
    }
  });

  it("refuses what is wrong with a status", async () => {
    const bucket = await newBucket();
    const statusOf = async (path: string, headers: Record<string, string> = {}): Promise<number> => {
      const { status, leave } = await open(service.url, path, headers);
      leave();
      return status;
    };
    expect(await statusOf(`${BUCKETS}/none/watch`)).toBe(404);
    expect(await statusOf(`${BUCKETS}/${bucket}/watch?x=1`)).toBe(400);
    expect(await statusOf(`${BUCKETS}/${bucket}/watch`, { "last-event-id": "x" })).toBe(400);
    expect(await statusOf(`${BUCKETS}/${bucket}/watch`, { "last-event-id": "77" })).toBe(400);
  });

  it("says why it ends", async () => {
    const bucket = await newBucket();
    const stream = await open(service.url, `${BUCKETS}/${bucket}/watch`);
    await send1(service.url, "DELETE", `${BUCKETS}/${bucket}`);
    expect(await read(stream.body, 2)).toEqual([
      { data: { type: "error", message: expect.any(String) as string } },
    ]);
    stream.leave();
  });
});

describe("with a watch that the test feeds", () => {
  let bridge: TestBridge;
  let watch: FakeWatch;
  afterEach(() => bridge.close());

  const PATH = `${BUCKETS}/b/watch`;
  async function start(pingIntervalMs = 60_000): Promise<void> {
    watch = new FakeWatch();
    bridge = await startBridge({ watch: () => watch }, { limits: { pingIntervalMs } });
  }

  it("takes Last-Event-ID 0 for the first revision", async () => {
    await start();
    const stream = await open1(bridge.url, PATH, { "last-event-id": "0" });
    expect((bridge.registry.calls[0]?.request as WatchRequest).startRevision).toBe(1n);
    stream.leave();
  });

  it("has no line break in an event, whatever the key", async () => {
    await start();
    const event = change(1n);
    if (event.event.case === "change" && event.event.value.entry)
      event.event.value.entry.key = "a\n\ndata: x\u2028\r";
    const stream = await open1(bridge.url, PATH);
    watch.push(event);
    expect(await read(stream.body, 1)).toMatchObject([{ data: { key: "a\n\ndata: x\u2028\r" } }]);
    stream.leave();
  });

  it.each([
    ["HTTP/1.1", () => open1(bridge.url, PATH)],
    ["HTTP/2", () => open2(bridge.http2Url, PATH)],
  ])("lets go of the watch at once when a client of %s is gone", async (_, open) => {
    await start();
    const stream = await open();
    stream.leave();
    await watch.returned();
  });

  it.each([
    ["HTTP/1.1", () => open1(bridge.url, PATH)],
    ["HTTP/2", () => open2(bridge.http2Url, PATH)],
  ])("asks for no more than a client of %s takes, and all arrives", async (_, open) => {
    await start();
    const stream = await open();
    const count = 500;
    const value = new Uint8Array(64 * 1_024);
    for (let index = 0; index < count; index++) watch.push(change(BigInt(index + 1), value));
    let seen = -1;
    while (seen !== watch.taken) {
      seen = watch.taken;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(seen).toBeLessThan(count);
    expect((await read(stream.body, count)).map(({ id }) => Number(id))).toEqual(
      Array.from({ length: count }, (_, index) => index + 1),
    );
    stream.leave();
  });

  it("sends comments to keep the connection, and cuts a client that takes nothing", async () => {
    await start(50);
    const idle = await open1(bridge.url, PATH);
    let text = "";
    while (text.length < 12) {
      const [chunk] = (await once(idle.body, "data")) as [Buffer];
      text += chunk.toString();
    }
    expect(text).toMatch(/^(:\n\n)+$/);
    idle.leave();
    await watch.returned();
    await bridge.close();
    await start(50);
    const stuck = await open1(bridge.url, PATH);
    stuck.body.pause();
    for (let index = 0; index < 300; index++) watch.push(change(BigInt(index + 1), new Uint8Array(100_000)));
    await watch.returned();
    expect(watch.taken).toBeLessThan(300);
  });

  it("hides what nobody foresaw, and logs it", async () => {
    await start();
    const stream = await open1(bridge.url, PATH);
    watch.push(new TypeError("secret"));
    const events = await read(stream.body, 2);
    expect(events).toEqual([
      { data: { type: "error", message: expect.not.stringContaining("secret") as string } },
    ]);
    expect(bridge.faults).toMatchObject([{ message: "secret" }]);
  });

  it("sends what came before an error first", async () => {
    await start();
    const stream = await open1(bridge.url, PATH);
    watch.push(change(1n), change(2n), new ConnectError("Over.", Code.Unavailable));
    expect(await read(stream.body, 9)).toMatchObject([
      { id: "1" },
      { id: "2" },
      { data: { type: "error", message: "Over." } },
    ]);
  });
});
