/** WebSockets with slow, unresponsive, flooding and disconnected clients, over a watch that the test feeds. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ErrorDetailSchema, Operation } from "../../gen/ironflow/kv/v1/types_pb.js";
import { change, FakeWatch } from "../support/fake-watch.js";
import { type Answers, startBridge, type TestBridge } from "../support/http-bridge.js";
import { refusedUpgrade, WatchClient } from "../support/watch-client.js";

const BUCKETS = "/api/v1/kv/buckets";

describe("a WebSocket", () => {
  let bridge: TestBridge;
  let watch: FakeWatch;
  afterEach(() => bridge.close());

  async function start(
    options: Parameters<typeof startBridge>[1] = {},
    answers: Answers = {},
  ): Promise<void> {
    watch = new FakeWatch();
    bridge = await startBridge({ watch: () => watch, ...answers }, options);
  }
  const PATH = `${BUCKETS}/b/watch`;

  it.each([
    [Operation.PUT, "put", "/wA="],
    [Operation.DELETE, "delete", ""],
    [Operation.PURGE, "delete", ""],
    [Operation.EXPIRE, "delete", ""],
  ])("shows operation %i as %s", async (operation, shown, value) => {
    await start();
    const client = await WatchClient.open(bridge.url, PATH);
    watch.push(change(2n ** 53n + 1n, new Uint8Array([255, 0]), operation));
    expect(await client.have(1)).toEqual([
      { type: "kv_update", key: "k", value, revision: Number(2n ** 53n + 1n), operation: shown, bucket: "b" },
    ]);
  });

  it("sends the same event to several watchers", async () => {
    const watches = [new FakeWatch(), new FakeWatch()];
    let next = 0;
    await start({}, { watch: () => watches[next++] });
    const clients = [await WatchClient.open(bridge.url, PATH), await WatchClient.open(bridge.url, PATH)];
    const event = change(1n, new Uint8Array([1]));
    for (const one of watches) one.push(event);
    expect(await clients[0]?.have(1)).toEqual(await clients[1]?.have(1));
  });

  it.each<[string, Code, number]>([
    ["slow_watcher", Code.ResourceExhausted, 1013],
    ["unavailable", Code.Unavailable, 1013],
    ["shutting_down", Code.Unavailable, 1001],
    ["bucket_not_found", Code.NotFound, 1008],
    ["internal", Code.Internal, 1011],
  ])("tells of %s and closes", async (reason, code, closeCode) => {
    await start();
    const client = await WatchClient.open(bridge.url, PATH);
    const detail = { desc: ErrorDetailSchema, value: create(ErrorDetailSchema, { reason }) };
    watch.push(change(1n), new ConnectError("It failed.", code, undefined, [detail]));
    expect(await client.untilClosed()).toEqual({ code: closeCode, reason });
    expect(client.frames[1]).toEqual({ type: "error", message: "It failed." });
    await watch.returned();
  });

  it("hides the details of unexpected errors, and logs them", async () => {
    await start();
    const client = await WatchClient.open(bridge.url, PATH);
    watch.push(new TypeError("secret"));
    expect(await client.untilClosed()).toEqual({ code: 1011, reason: "internal" });
    expect(JSON.stringify(client.frames)).not.toContain("secret");
    expect(bridge.faults).toMatchObject([{ message: "secret" }]);
  });

  it("closes the watch at once when the client closes or disconnects", async () => {
    for (const leave of ["close", "terminate"] as const) {
      await start();
      const client = await WatchClient.open(bridge.url, PATH);
      client.socket[leave]();
      await watch.returned();
      if (leave === "close") await bridge.close();
    }
  });

  it("pulls events at the client's pace", async () => {
    await start();
    const client = await WatchClient.open(bridge.url, PATH);
    watch.push(change(1n));
    await client.have(1);
    client.socket.pause();
    const count = 400;
    const value = new Uint8Array(64 * 1_024);
    for (let index = 0; index < count; index++) watch.push(change(BigInt(index + 2), value));
    expect(await watch.stalled()).toBeLessThan(count);
    client.socket.resume();
    expect((await client.have(count + 1)).length).toBe(count + 1);
  });

  it("pings, and disconnects a client that does not answer before the next ping", async () => {
    await start({ limits: { pingIntervalMs: 250 } });
    const alive = await WatchClient.open(bridge.url, PATH);
    for (let time = 0; time < 3; time++) await once(alive.socket, "ping");
    const mute = await WatchClient.open(bridge.url, PATH, { autoPong: false });
    expect((await mute.untilClosed())?.code).toBe(1006);
    expect(alive.closed).toBeUndefined();
  });

  it("ignores client messages up to a limit", async () => {
    await start();
    const client = await WatchClient.open(bridge.url, PATH);
    client.socket.send("hello");
    watch.push(change(1n));
    await client.have(1);
    for (let index = 0; index < 1_100; index++) client.socket.send("x");
    expect(await client.untilClosed()).toMatchObject({ code: 1008 });
    await watch.returned();
  });

  it("closes on a message that is too large", async () => {
    await start();
    const client = await WatchClient.open(bridge.url, PATH);
    client.socket.send("x".repeat(1_025));
    expect(await client.untilClosed()).toMatchObject({ code: 1009 });
    await watch.returned();
  });

  it("accepts only pages of allowed origins", async () => {
    await start({ allowedOrigins: ["https://a.example"] });
    expect((await refusedUpgrade(bridge.url, PATH, { origin: "https://b.example" }))[0]).toBe(403);
    (await WatchClient.open(bridge.url, PATH, { headers: { origin: "https://a.example" } })).socket.close();
    (await WatchClient.open(bridge.url, PATH)).socket.close();
  });

  it.each([
    ["Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 426],
    ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 426],
    ["Sec-WebSocket-Version: 13", 400],
    ["Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short", 400],
  ])("refuses the handshake %j with %i, without starting a watch", async (headers, status) => {
    await start();
    const answer = await exchange(
      `GET ${PATH} HTTP/1.1\r\nHost: [\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n\r\n`,
    );
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(bridge.registry.calls).toEqual([]);
  });

  it("closes a watch whose client disconnected during the handshake", async () => {
    let answer: (watch: FakeWatch) => void = () => undefined;
    const answered = new Promise<FakeWatch>((resolve) => (answer = resolve));
    await start({}, { watch: () => answered });
    const socket = rawConnection();
    socket.write(
      `GET ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    );
    while (bridge.registry.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
    socket.resetAndDestroy();
    await once(socket, "close");
    answer(watch);
    await watch.returned();
  });

  function rawConnection(): Socket {
    const socket = connectSocket(bridge.port, "127.0.0.1");
    socket.on("error", () => undefined);
    return socket;
  }

  async function exchange(text: string): Promise<string> {
    const socket = rawConnection();
    socket.write(text);
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk.toString()));
    await once(socket, "close");
    return answer;
  }
});
