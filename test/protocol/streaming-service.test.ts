/** Streams on a complete service: when a watch is known to have started, and clients that disconnect, hang or lag. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import type { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import {
  type KeyValueService,
  WatchRequest_Start as Start,
  WatchRequestSchema,
  type WatchResponse,
  WatchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { CONTRACT_DOORS } from "../api/doors.js";
import { clientsOf, line } from "../api/support.js";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  RawSession,
} from "../../packages/http2/test/raw-session.js";
import { scrape } from "../support/metrics.js";
import { startTestService, type TestService } from "../support/service.js";
import { until } from "../support/until.js";

const WATCH = "/ironflow.kv.v1.KeyValueService/Watch";
/** All but the one that differs in unary calls only. */
const DOORS = CONTRACT_DOORS.filter(({ name }) => !name.includes("GET"));

let service: TestService;
let kv: Client<typeof KeyValueService>;
afterEach(() => service.remove());

async function start(settings: Record<string, string> = {}): Promise<void> {
  service = await startTestService(settings);
  const [door] = DOORS;
  if (door === undefined) throw new Error("no door");
  const clients = clientsOf(door, service.url);
  kv = clients.kv;
  await clients.buckets.createBucket({ name: "b" });
}

function put(key: string, value: Uint8Array = Buffer.from("1")): Promise<unknown> {
  return kv.put({ bucket: "b", key, value });
}

/** A watch of what happens from now on. */
class Watching {
  readonly isPlaced: Promise<unknown>;
  private readonly controller = new AbortController();
  private readonly events: AsyncIterator<WatchResponse>;
  private waiting: Promise<IteratorResult<WatchResponse>>;

  constructor(client: Client<typeof KeyValueService>) {
    let place: (headers: unknown) => void = () => undefined;
    this.isPlaced = new Promise((resolve) => (place = resolve));
    const options = { onHeader: place, signal: this.controller.signal };
    this.events = client.watch({ bucket: "b", start: Start.NOW }, options)[Symbol.asyncIterator]();
    this.waiting = this.events.next();
    this.waiting.catch(() => undefined);
  }

  /** Only the first event is read before this is called. */
  async next(): Promise<WatchResponse> {
    const result = await this.waiting;
    if (result.done === true) throw new Error("the watch ended");
    this.waiting = this.events.next();
    this.waiting.catch(() => undefined);
    return result.value;
  }

  drop(): void {
    this.controller.abort();
  }
}

function untilWatches(count: number): Promise<void> {
  const watches = async () => (await scrape(service.url)).value("ironflow_watches");
  return until(`there are ${count} watches`, async () => (await watches()) === count);
}

describe("a watch from now on", () => {
  it("has started when its headers arrive, in every protocol, and is released when its client disconnects", async () => {
    await start();
    const watches = DOORS.map((door) => new Watching(clientsOf(door, service.url).kv));
    await Promise.all(watches.map(({ isPlaced }) => isPlaced));
    await put("k");
    const seen = await Promise.all(watches.map((watch) => watch.next()));
    expect(seen.map(line)).toEqual(DOORS.map(() => "put k=1 @1"));
    await untilWatches(DOORS.length);
    for (const watch of watches) watch.drop();
    await untilWatches(0);
  });

  it("over HTTP/1.1 stays open without events, past the idle timeout", async () => {
    await start({ "idle-timeout-ms": "1000", "ping-interval-ms": "1000", "headers-timeout-ms": "1000" });
    const watches = DOORS.filter(({ name }) => name.includes("HTTP/1.1")).map(
      (door) => new Watching(clientsOf(door, service.url).kv),
    );
    await Promise.all(watches.map(({ isPlaced }) => isPlaced));
    // The service's own clock: a connection that is kept and not used.
    await closedForIdleness();
    await put("k");
    const seen = await Promise.all(watches.map((watch) => watch.next()));
    expect(seen.map(line)).toEqual(watches.map(() => "put k=1 @1"));
    for (const watch of watches) watch.drop();
  });
});

async function closedForIdleness(): Promise<void> {
  const socket = await openSocket();
  socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
  socket.resume();
  await once(socket, "close");
}

async function openSocket(): Promise<Socket> {
  const socket = connectSocket(service.port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

describe("a client that is connected and dead", () => {
  async function openWatch(): Promise<RawSession> {
    const session = await RawSession.open(service.port);
    const message = toBinary(WatchRequestSchema, create(WatchRequestSchema, { bucket: "b" }));
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
    const head = headerBlock({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "localhost",
      ":path": WATCH,
      "content-type": "application/grpc",
    });
    session.write(
      frame(Frame.SETTINGS, 1, 0),
      frame(Frame.HEADERS, END_HEADERS, 1, head),
      frame(Frame.DATA, END_STREAM, 1, body),
    );
    return session;
  }

  it("is detected by an unanswered ping", async () => {
    await start({ "ping-interval-ms": "1000" });
    const session = await openWatch();
    expect(await session.until(({ type }) => type === Frame.PING)).toBeDefined();
    await session.closed();
    await untilWatches(0);
  });

  it("is detected by a ping even if its write buffer is full", async () => {
    await start({ "ping-interval-ms": "1000" });
    for (let index = 0; index < 30; index++) {
      const url = `${service.url}/api/v1/kv/buckets/b/keys/k${index}`;
      await fetch(url, { method: "PUT", body: Buffer.alloc(500_000) });
    }
    const session = await openWatch();
    session.write(frame(Frame.WINDOW_UPDATE, 0, 0, WINDOW), frame(Frame.WINDOW_UPDATE, 0, 1, WINDOW));
    expect(await session.until(({ type }) => type === Frame.DATA)).toBeDefined();
    session.socket.pause();
    await untilWatches(0);
    session.close();
  });
});

/** As much as HTTP/2 allows: what blocks then is the connection. */
const WINDOW = Buffer.from([0x7f, 0xff, 0x00, 0x00]);

describe("a watcher that does not read", () => {
  const COUNT = 40;

  it("is ended with the revision to resume from, and does not delay others", async () => {
    await start({ "watch-queue-events-max": "4" });
    const lagging = [await openHttp1(), await openHttp2()];
    const reading = new Watching(kv);
    await reading.isPlaced;
    for (let index = 1; index <= COUNT; index++) {
      await put(`k${index}`, Buffer.alloc(500_000));
      expect(revisionOf(await reading.next())).toBe(BigInt(index));
      const waitingBytes = (await scrape(service.url)).value("ironflow_watch_queue_bytes");
      expect(waitingBytes).toBeLessThanOrEqual((2 * 4 + 1) * 500_100);
    }
    await untilWatches(1);
    reading.drop();
    for (const body of lagging) await expectLag(body);
  });

  function message(): Buffer {
    const bytes = toBinary(WatchRequestSchema, create(WatchRequestSchema, { bucket: "b", start: Start.NOW }));
    return Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.length]), bytes]);
  }

  async function openHttp1(): Promise<Readable> {
    const headers = { "content-type": "application/connect+proto" };
    const call = httpRequest(`${service.url}${WATCH}`, { method: "POST", headers, agent: false });
    call.end(message());
    const [response] = (await once(call, "response")) as [IncomingMessage];
    return response;
  }

  async function openHttp2(): Promise<Readable> {
    const session = connectHttp2(service.url);
    const headers = { ":method": "POST", ":path": WATCH, "content-type": "application/connect+proto" };
    const stream = session.request(headers);
    stream.end(message());
    stream.once("close", () => session.close());
    await once(stream, "response");
    return stream;
  }

  /** Reads what was sent before the end, in order, and goes on from where it says. */
  async function expectLag(body: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    let last = 0n;
    let at = 0;
    const next = (): Buffer => bytes.subarray(at + 5, (at += 5 + bytes.readUInt32BE(at + 1)));
    while (bytes.readUInt8(at) === 0) {
      expect(revisionOf(fromBinary(WatchResponseSchema, next()))).toBe(++last);
    }
    const { error } = JSON.parse(next().toString()) as {
      error: { code: string; details: { value: string }[] };
    };
    expect(error.code).toBe("resource_exhausted");
    expect(fromBinary(ErrorDetailSchema, Buffer.from(error.details[0]?.value ?? "", "base64"))).toMatchObject(
      {
        reason: "slow_watcher",
        revision: last + 1n,
      },
    );
    expect(last).toBeLessThan(BigInt(COUNT));
    for await (const event of kv.watch({ bucket: "b", startRevision: last + 1n })) {
      if (event.event.case === "snapshotEnd") break;
      expect(revisionOf(event)).toBe(++last);
    }
    expect(last).toBe(BigInt(COUNT));
  }
});

function revisionOf({ event }: WatchResponse): bigint {
  return event.case === "change" ? (event.value.entry?.revision ?? 0n) : 0n;
}
