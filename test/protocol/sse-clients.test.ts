/** SSE with slow, stalled and disconnected clients, over a watch that the test feeds. */
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import type { WatchRequest } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { change, FakeWatch } from "../support/fake-watch.js";
import { startBridge, type TestBridge } from "../support/http-bridge.js";
import { ACCEPT, open1, open2, readEvents } from "../support/sse-client.js";

const BUCKETS = "/api/v1/kv/buckets";

describe("an event stream", () => {
  let bridge: TestBridge;
  let watch: FakeWatch;
  afterEach(() => bridge.close());

  const PATH = `${BUCKETS}/b/watch`;
  async function start(pingIntervalMs = 60_000): Promise<void> {
    watch = new FakeWatch();
    bridge = await startBridge({ watch: () => watch }, { limits: { pingIntervalMs } });
  }

  it("starts at the first revision for Last-Event-ID 0", async () => {
    await start();
    const stream = await open1(bridge.url, PATH, { "last-event-id": "0" });
    expect((bridge.registry.calls[0]?.request as WatchRequest).startRevision).toBe(1n);
    stream.leave();
  });

  it.each([1, 2])("closes a watch whose HTTP/%i client disconnected while it started", async (version) => {
    watch = new FakeWatch();
    let answer: (watch: FakeWatch) => void = () => undefined;
    const answered = new Promise<FakeWatch>((resolve) => (answer = resolve));
    let asked: () => void = () => undefined;
    const called = new Promise<void>((resolve) => (asked = resolve));
    bridge = await startBridge({
      watch: (_: never, input) => {
        const { signal } = input;
        signal.addEventListener("abort", () => answer(watch));
        asked();
        return answered;
      },
    });
    const leaving = version === 1 ? leaving1(bridge.url) : leaving2(bridge.http2Url);
    await called;
    leaving();
    await watch.returned();
    expect(watch.taken).toBe(0);
  });

  /** Asks for a watch without waiting for an answer; gives how to leave. */
  function leaving1(url: string): () => void {
    const { hostname, port } = new URL(url);
    const request = httpRequest({ hostname, port, path: PATH, agent: false, headers: ACCEPT });
    request.on("error", () => undefined);
    request.end();
    return () => request.destroy();
  }

  function leaving2(url: string): () => void {
    const session = connectHttp2(url);
    session.on("error", () => undefined);
    session.request({ ":path": PATH, ...ACCEPT }).on("error", () => undefined);
    return () => session.destroy();
  }

  it("has no line break in an event, whatever the key", async () => {
    await start();
    const event = change(1n);
    if (event.event.case === "change" && event.event.value.entry)
      event.event.value.entry.key = "a\n\ndata: x\u2028\r";
    const stream = await open1(bridge.url, PATH);
    watch.push(event);
    expect(await readEvents(stream.body, 1)).toMatchObject([{ data: { key: "a\n\ndata: x\u2028\r" } }]);
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
    expect(await watch.stalled()).toBeLessThan(count);
    expect((await readEvents(stream.body, count)).map(({ id }) => Number(id))).toEqual(
      Array.from({ length: count }, (_, index) => index + 1),
    );
    stream.leave();
  });

  it("sends comments as keep-alive, and disconnects a client that reads nothing", async () => {
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

  it("hides the details of unexpected errors, and logs them", async () => {
    await start();
    const stream = await open1(bridge.url, PATH);
    watch.push(new TypeError("secret"));
    const events = await readEvents(stream.body, 2);
    expect(events).toEqual([
      { data: { type: "error", message: expect.not.stringContaining("secret") as string } },
    ]);
    expect(bridge.faults).toMatchObject([{ message: "secret" }]);
  });

  it("sends earlier events before an error", async () => {
    await start();
    const stream = await open1(bridge.url, PATH);
    watch.push(change(1n), change(2n), new ConnectError("Over.", Code.Unavailable));
    expect(await readEvents(stream.body, 9)).toMatchObject([
      { id: "1" },
      { id: "2" },
      { data: { type: "error", message: "Over." } },
    ]);
  });
});
