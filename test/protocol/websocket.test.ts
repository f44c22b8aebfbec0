/** Watches over WebSocket: the frames against a real service, and what the door does with clients that are slow, mute or gone. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { ErrorDetailSchema, Operation } from "../../gen/ironflow/kv/v1/types_pb.js";
import { change, FakeWatch } from "../support/fake-watch.js";
import { type Answers, startBridge, type TestBridge } from "../support/http-bridge.js";
import { send1 } from "../support/http-client.js";
import { freshName, startTestService, type TestService } from "../support/service.js";

const BUCKETS = "/api/v1/kv/buckets";

/** Frames as they come, and how the connection closed. */
class Client {
  readonly frames: unknown[] = [];
  closed: { code: number; reason: string } | undefined;

  private constructor(readonly socket: WebSocket) {
    socket.on("message", (data: Buffer, isBinary) => {
      expect(isBinary).toBe(false);
      this.frames.push(JSON.parse(data.toString()));
    });
    socket.on("close", (code, reason) => (this.closed = { code, reason: reason.toString() }));
  }

  static async open(
    url: string,
    path: string,
    options: { headers?: Record<string, string>; autoPong?: boolean } = {},
  ): Promise<Client> {
    const socket = new WebSocket(url.replace("http", "ws") + path, options);
    const client = new Client(socket);
    await once(socket, "open");
    return client;
  }

  /** Resolves when this many frames are here. */
  async have(count: number): Promise<unknown[]> {
    while (this.frames.length < count) await once(this.socket, "message");
    return this.frames;
  }

  async untilClosed(): Promise<{ code: number; reason: string } | undefined> {
    if (this.closed === undefined) await once(this.socket, "close");
    return this.closed;
  }
}

/** The status and JSON of an upgrade that must be refused. */
async function refused(
  url: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<[number, unknown]> {
  const socket = new WebSocket(url.replace("http", "ws") + path, { headers });
  socket.on("error", () => undefined);
  const [, response] = (await once(socket, "unexpected-response")) as [
    unknown,
    import("node:http").IncomingMessage,
  ];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return [response.statusCode ?? 0, JSON.parse(text)];
}

describe("with a service", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  }, 60_000);
  afterAll(() => service.remove());

  async function newBucket(): Promise<string> {
    const name = freshName("ws");
    await send1(service.url, "POST", BUCKETS, { body: JSON.stringify({ name, history: 5 }) });
    return name;
  }
  const put = async (bucket: string, key: string, body: string): Promise<number> => {
    const { json } = await send1(service.url, "PUT", `${BUCKETS}/${bucket}/keys/${key}`, { body });
    return (json as { revision: number }).revision;
  };
  const remove = (bucket: string, key: string, query = ""): Promise<unknown> =>
    send1(service.url, "DELETE", `${BUCKETS}/${bucket}/keys/${key}${query}`);

  it("sends the present values, then the changes, and nothing else", async () => {
    const bucket = await newBucket();
    await put(bucket, "a", "old");
    const present = await put(bucket, "a", "1");
    const client = await Client.open(service.url, `${BUCKETS}/${bucket}/watch`);
    await client.have(1);
    const changed = await put(bucket, "user:1/x", "2");
    await remove(bucket, "a");
    await remove(bucket, "user:1/x", "?purge=true");
    expect(await client.have(4)).toEqual([
      { type: "kv_update", key: "a", value: "MQ==", revision: present, operation: "put", bucket },
      { type: "kv_update", key: "user:1/x", value: "Mg==", revision: changed, operation: "put", bucket },
      { type: "kv_update", key: "a", value: "", revision: changed + 1, operation: "delete", bucket },
      { type: "kv_update", key: "user:1/x", value: "", revision: changed + 2, operation: "delete", bucket },
    ]);
    client.socket.close();
  });

  it("filters, by several filters", async () => {
    const bucket = await newBucket();
    const client = await Client.open(service.url, `${BUCKETS}/${bucket}/watch?key=a.*&key=b`);
    for (const key of ["a.1", "x", "b", "a.1.2", "a.2"]) await put(bucket, key, "v");
    const frames = (await client.have(3)) as { key: string }[];
    expect(frames.map(({ key }) => key)).toEqual(["a.1", "b", "a.2"]);
    client.socket.close();
  });

  it("leaves the snapshot out, or begins at a revision, on request", async () => {
    const bucket = await newBucket();
    const revisions = [await put(bucket, "a", "1"), await put(bucket, "b", "2")];
    const later = await Client.open(service.url, `${BUCKETS}/${bucket}/watch?initial=false`);
    const from = await Client.open(service.url, `${BUCKETS}/${bucket}/watch?start_revision=${revisions[1]}`);
    const last = await put(bucket, "c", "3");
    expect(await later.have(1)).toMatchObject([{ key: "c", revision: last }]);
    expect(await from.have(2)).toMatchObject([{ key: "b" }, { key: "c" }]);
    later.socket.close();
    from.socket.close();
  });

  it("marks the snapshot's end and its progress when asked", async () => {
    const bucket = await newBucket();
    const revision = await put(bucket, "a", "1");
    const client = await Client.open(
      service.url,
      `${BUCKETS}/${bucket}/watch?snapshot_end=true&progress=100ms`,
    );
    const frames = await client.have(3);
    expect(frames[0]).toMatchObject({ type: "kv_update" });
    expect(frames[1]).toEqual({
      type: "snapshot_end",
      revision,
      bucket,
      bucket_created_at: expect.any(String) as string,
    });
    expect(frames[2]).toEqual({ type: "progress", revision, bucket, time: expect.any(String) as string });
    client.socket.close();
  });

  it("says that the bucket was deleted, and closes", async () => {
    const bucket = await newBucket();
    const client = await Client.open(service.url, `${BUCKETS}/${bucket}/watch`);
    await send1(service.url, "DELETE", `${BUCKETS}/${bucket}`);
    expect(await client.untilClosed()).toEqual({ code: 1008, reason: "bucket_not_found" });
    expect(client.frames).toEqual([{ type: "error", message: expect.any(String) as string }]);
  });

  it("refuses what is wrong before the handshake", async () => {
    const bucket = await newBucket();
    const watch = `${BUCKETS}/${bucket}/watch`;
    const error = expect.any(String) as string;
    expect(await refused(service.url, `${BUCKETS}/none/watch`)).toEqual([
      404,
      { error, code: "bucket_not_found" },
    ]);
    expect(await refused(service.url, `${BUCKETS}/a.b/watch`)).toEqual([
      400,
      { error, code: "invalid_argument" },
    ]);
    expect(await refused(service.url, `${watch}?key=a.%3E.b`)).toEqual([
      400,
      { error, code: "invalid_argument" },
    ]);
    expect(await refused(service.url, `${watch}?x=1`)).toEqual([400, { error, code: "invalid_argument" }]);
    expect(await refused(service.url, `${watch}?start_revision=99`)).toEqual([
      400,
      { error, code: "revision_in_future" },
    ]);
    expect(await refused(service.url, `${watch}/x`)).toEqual([404, { error, code: "route_not_found" }]);
    expect(await refused(service.url, BUCKETS)).toEqual([400, { error, code: "invalid_argument" }]);
    expect(await refused(service.url, "/")).toEqual([404, { error, code: "route_not_found" }]);
    const headers = { "x-ironflow-environment": "staging" };
    expect(await refused(service.url, watch, headers)).toEqual([400, { error, code: "invalid_argument" }]);
  });

  it("asks for the key of the service, which a browser gives in the query", async () => {
    const locked = await startTestService({ "api-key": "0123456789abcdef" });
    try {
      const headers = { authorization: "Bearer 0123456789abcdef" };
      await send1(locked.url, "POST", BUCKETS, { body: '{"name":"b"}', headers });
      const path = `${BUCKETS}/b/watch`;
      for (const query of ["", "?access_token=wrong"]) {
        expect((await refused(locked.url, path + query))[0]).toBe(401);
      }
      (await Client.open(locked.url, path, { headers })).socket.close();
      (await Client.open(locked.url, `${path}?access_token=0123456789abcdef`)).socket.close();
    } finally {
      await locked.remove();
    }
  });

  it("says on stopping from where to go on", async () => {
    const other = await startTestService();
    try {
      await send1(other.url, "POST", BUCKETS, { body: '{"name":"b"}' });
      const { json } = await send1(other.url, "PUT", `${BUCKETS}/b/keys/k`, { body: "x" });
      const client = await Client.open(other.url, `${BUCKETS}/b/watch`);
      await client.have(1);
      await other.stop();
      expect(await client.untilClosed()).toEqual({ code: 1001, reason: "shutting_down" });
      const next = (json as { revision: number }).revision + 1;
      expect(client.frames.at(-1)).toEqual({
        type: "error",
        message: expect.stringMatching(new RegExp(` Resume with start_revision=${next}\\.$`)) as string,
      });
    } finally {
      await other.remove();
    }
  });
});

describe("with a watch that the test feeds", () => {
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
    const client = await Client.open(bridge.url, PATH);
    watch.push(change(2n ** 53n + 1n, new Uint8Array([255, 0]), operation));
    expect(await client.have(1)).toEqual([
      { type: "kv_update", key: "k", value, revision: Number(2n ** 53n + 1n), operation: shown, bucket: "b" },
    ]);
  });

  it("sends the same event to several watchers", async () => {
    const watches = [new FakeWatch(), new FakeWatch()];
    let next = 0;
    await start({}, { watch: () => watches[next++] });
    const clients = [await Client.open(bridge.url, PATH), await Client.open(bridge.url, PATH)];
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
    const client = await Client.open(bridge.url, PATH);
    const detail = { desc: ErrorDetailSchema, value: create(ErrorDetailSchema, { reason }) };
    watch.push(change(1n), new ConnectError("It failed.", code, undefined, [detail]));
    expect(await client.untilClosed()).toEqual({ code: closeCode, reason });
    expect(client.frames[1]).toEqual({ type: "error", message: "It failed." });
    await watch.returned();
  });

  it("hides what nobody foresaw, and logs it", async () => {
    await start();
    const client = await Client.open(bridge.url, PATH);
    watch.push(new TypeError("secret"));
    expect(await client.untilClosed()).toEqual({ code: 1011, reason: "internal" });
    expect(JSON.stringify(client.frames)).not.toContain("secret");
    expect(bridge.faults).toMatchObject([{ message: "secret" }]);
  });

  it("lets go of the watch at once when the client closes, or is gone", async () => {
    for (const leave of ["close", "terminate"] as const) {
      await start();
      const client = await Client.open(bridge.url, PATH);
      client.socket[leave]();
      await watch.returned();
      if (leave === "close") await bridge.close();
    }
  });

  it("asks for no more than a client takes", async () => {
    await start();
    const client = await Client.open(bridge.url, PATH);
    watch.push(change(1n));
    await client.have(1);
    client.socket.pause();
    const count = 400;
    const value = new Uint8Array(64 * 1_024);
    for (let index = 0; index < count; index++) watch.push(change(BigInt(index + 2), value));
    // It stops by itself: two looks in a row, with time for the loop between them, see the same.
    let seen = -1;
    while (seen !== watch.taken) {
      seen = watch.taken;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(seen).toBeLessThan(count);
    client.socket.resume();
    expect((await client.have(count + 1)).length).toBe(count + 1);
  });

  it("pings, and cuts a client that does not answer by the next ping", async () => {
    await start({ limits: { pingIntervalMs: 50 } });
    const alive = await Client.open(bridge.url, PATH);
    for (let time = 0; time < 3; time++) await once(alive.socket, "ping");
    const mute = await Client.open(bridge.url, PATH, { autoPong: false });
    expect((await mute.untilClosed())?.code).toBe(1006);
    expect(alive.closed).toBeUndefined();
  });

  it("ignores what a client says, until it is too much", async () => {
    await start();
    const client = await Client.open(bridge.url, PATH);
    client.socket.send("hello");
    watch.push(change(1n));
    await client.have(1);
    for (let index = 0; index < 1_100; index++) client.socket.send("x");
    expect(await client.untilClosed()).toMatchObject({ code: 1008 });
    await watch.returned();
  });

  it("closes on a message that is too large", async () => {
    await start();
    const client = await Client.open(bridge.url, PATH);
    client.socket.send("x".repeat(1_025));
    expect(await client.untilClosed()).toMatchObject({ code: 1009 });
    await watch.returned();
  });

  it("lets in the pages of the list only", async () => {
    await start({ allowedOrigins: ["https://a.example"] });
    expect((await refused(bridge.url, PATH, { origin: "https://b.example" }))[0]).toBe(403);
    (await Client.open(bridge.url, PATH, { headers: { origin: "https://a.example" } })).socket.close();
    (await Client.open(bridge.url, PATH)).socket.close();
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

  it("answers a request for another upgrade as if it had not asked", async () => {
    await start();
    const head =
      "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    expect(await exchange(`GET ${BUCKETS}/b HTTP/1.1\r\n${head}\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    const withBody = `PUT ${BUCKETS}/b/keys/k HTTP/1.1\r\n${head}Content-Length: 1\r\n\r\nx`;
    expect(await exchange(withBody)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("lets go of a watch whose client left during the handshake", async () => {
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
