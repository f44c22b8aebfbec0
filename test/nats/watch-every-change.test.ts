/** A bucket with the default history of 1 and a busy key: every change arrives, and what is gone is counted in the event after it. */
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { streamName } from "../../src/kv/names.js";
import type { WatchEvent, WatchOptions } from "../../src/kv/watch.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { openFaultyLink } from "./faulty-link.js";
import { TestBucket } from "./watch-bucket.js";
import { configureBy, newHubs, read, scope } from "./watching.js";

const WRITERS = 16;
const PUTS_EACH = 31;
const PUTS = WRITERS * PUTS_EACH;

let server: TestNatsServer;
let connection: NatsConnection;
let hubs: WatchHubs;
let bucket: TestBucket;
let buckets = 0;

beforeAll(async () => {
  server = await startNatsServer();
  connection = await connect({ servers: server.url });
});
afterAll(async () => {
  await connection.close();
  await server.remove();
});
beforeEach(async () => {
  hubs = newHubs(connection);
  bucket = await TestBucket.create(connection, `e${++buckets}`);
});
afterEach(() => hubs.close());

const watch = (options: Partial<WatchOptions> = {}, from = hubs): Promise<Watcher> =>
  from.watch(bucket.name, { filters: [], start: "now", ...options }, scope());

async function putMany(key = "hot"): Promise<void> {
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      for (let n = 0; n < PUTS_EACH; n++) await bucket.put(key, `${writer}-${n}`);
    }),
  );
}

/** Reads up to a revision: what came, and how many revisions are said to be gone. */
async function readThrough(watcher: Watcher, last: bigint): Promise<{ seen: bigint[]; superseded: number }> {
  const seen: bigint[] = [];
  let superseded = 0;
  for (;;) {
    const { value } = (await watcher.next()) as { value: WatchEvent };
    superseded += value.superseded ?? 0;
    if (value.type === "change") seen.push(value.entry.revision);
    const revision = value.type === "change" ? value.entry.revision : value.revision;
    if (revision >= last) return { seen, superseded };
  }
}

const revisions = (from: number, through: number): bigint[] =>
  Array.from({ length: through - from + 1 }, (_, index) => BigInt(from + index));

describe("every put of a busy key", () => {
  test("reaches each watcher, in order, with nothing superseded", async () => {
    const watchers = await Promise.all(
      [[], ["hot"], ["h*"], [">"]].map((filters) => watch({ filters, progressIntervalMs: 100 })),
    );
    await putMany();
    for (const watcher of watchers)
      expect(await readThrough(watcher, BigInt(PUTS))).toEqual({ seen: revisions(1, PUTS), superseded: 0 });
  });

  test("reaches a watcher of a snapshot that begins among them", async () => {
    await bucket.put("first", "1");
    const puts = putMany();
    const watcher = await watch({ start: "snapshot", progressIntervalMs: 100 });
    await puts;
    const lines: WatchEvent[] = [];
    for await (const event of watcher) {
      lines.push(event);
      if (event.type === "change" && event.entry.revision === BigInt(PUTS + 1)) break;
    }
    const end = lines.findIndex(({ type }) => type === "snapshot_end");
    const after = lines
      .slice(end)
      .flatMap((event) => (event.type === "change" ? [event.entry.revision] : []));
    expect(lines.every(({ superseded }) => superseded === undefined)).toBe(true);
    const first = Number((lines[end] as { revision: bigint }).revision) + 1;
    expect(after).toEqual(revisions(first, PUTS + 1));
  });

  test("that a consumer passes over is counted, where the stream may not be configured to republish", async () => {
    const refusing = newHubs(connection, {}, false, () => Promise.reject(new Error("not permitted")));
    const watcher = await watch({}, refusing);
    await putMany();
    const { seen, superseded } = await readThrough(watcher, BigInt(PUTS));
    expect(seen.length + superseded).toBe(PUTS);
    await refusing.close();
  });

  test("is read from memory by a watch that resumes", async () => {
    const watcher = await watch();
    await putMany();
    await readThrough(watcher, BigInt(PUTS));
    const resumed = await watch({ start: { revision: 100n } });
    expect(await readThrough(resumed, BigInt(PUTS))).toEqual({ seen: revisions(100, PUTS), superseded: 0 });
  });
});

describe("what another copy of the service did not see", () => {
  beforeEach(async () => {
    for (let n = 1; n <= 10; n++) await bucket.put("hot", String(n));
    await bucket.put("other", "1");
    await bucket.put("other", "2");
  });

  test("is counted in the event after it", async () => {
    expect(await read(await watch({ start: { revision: 3n } }), 3)).toEqual([
      "put hot=10 @10 after 7 superseded",
      "put other=2 @12 after 1 superseded",
      "snapshot_end @12",
    ]);
  });

  test("is counted with a filter too, whatever its keys were", async () => {
    expect(await read(await watch({ start: { revision: 3n }, filters: ["other"] }), 2)).toEqual([
      "put other=2 @12 after 8 superseded",
      "snapshot_end @12",
    ]);
    expect(await read(await watch({ start: { revision: 3n }, filters: ["none"] }), 1)).toEqual([
      "snapshot_end @12 after 8 superseded",
    ]);
  });

  test.each([[[]], [["other"]], [["none"]]])(
    "is counted where too much is missing for memory, with the filters %j",
    async (filters) => {
      hubs = newHubs(connection, { recentChangesBytesMax: 0 });
      const watcher = await watch({ start: { revision: 3n }, filters });
      let superseded = 0;
      for await (const event of watcher) {
        superseded += event.superseded ?? 0;
        if (event.type === "snapshot_end") break;
      }
      expect(superseded).toBe(8);
    },
  );

  test("does not count in a snapshot or a history", async () => {
    for (const start of ["snapshot", "history"] as const)
      expect(await read(await watch({ start }), 3)).toEqual([
        "put hot=10 @10",
        "put other=2 @12",
        "snapshot_end @12",
      ]);
  });

  test.each([[[]], [["other"]]])(
    "ends a watch that wants every change, with the filters %j",
    async (filters) => {
      const watcher = await watch({ start: { revision: 3n }, filters, everyChange: true });
      await expect(readThrough(watcher, 12n)).rejects.toMatchObject({
        kind: "revision_compacted",
        revision: 10n,
      });
    },
  );

  test("is nothing to a watch that wants every change from where nothing is gone", async () => {
    const watcher = await watch({ start: { revision: 12n }, everyChange: true });
    expect(await read(watcher, 2)).toEqual(["put other=2 @12", "snapshot_end @12"]);
    await bucket.put("other", "3");
    expect(await read(watcher, 1)).toEqual(["put other=3 @13"]);
  });
});

test("revisions that are superseded while the connection is lost are counted", async () => {
  const link = await openFaultyLink(server.port);
  const cuttable = await connect({ servers: link.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
  const away = newHubs(cuttable, {}, false, configureBy(connection));
  const watcher = await watch({}, away);
  const strict = await watch({ everyChange: true }, away);
  await bucket.put("hot", "1");
  expect(await read(watcher, 1)).toEqual(["put hot=1 @1"]);
  link.isDown = true;
  link.cut();
  for (const value of ["2", "3", "4"]) await bucket.put("hot", value);
  link.heal();
  expect(await read(watcher, 1)).toEqual(["put hot=4 @4 after 2 superseded"]);
  expect(await read(strict, 1)).toEqual(["put hot=1 @1"]);
  await expect(strict.next()).rejects.toMatchObject({ kind: "revision_compacted", revision: 4n });
  await away.close();
  await cuttable.close();
  await link.close();
});

test("previous comes from memory where the bucket keeps no history", async () => {
  const watcher = await watch({ previous: true });
  for (const value of ["1", "2"]) await bucket.put("hot", value);
  await bucket.delete("hot");
  await bucket.put("hot", "3");
  expect(await read(watcher, 4)).toEqual([
    "put hot=1 @1",
    "put hot=2 @2 was 1",
    "delete hot @3 was 2",
    "put hot=3 @4 was ",
  ]);
});

describe("the stream's configuration", () => {
  const info = async (): Promise<{ config: Record<string, unknown> }> =>
    (await connection.request(`$JS.API.STREAM.INFO.${streamName(bucket.name)}`)).json();

  test("gets a republish at the first watch, and keeps every other field", async () => {
    const { config: before } = await info();
    await watch();
    const { config: after } = await info();
    const { republish, ...others } = after;
    expect(republish).toEqual({
      src: `$KV.APP_${bucket.name}.>`,
      dest: `$IRONFLOW.feed.KV_APP_${bucket.name}.>`,
    });
    expect(others).toEqual({ ...before, metadata: others["metadata"] });
  });

  test("may lose its republish to another program: it is restored, and nothing is missed", async () => {
    const watcher = await watch();
    await bucket.put("hot", "1");
    const { config } = await info();
    const { republish, ...others } = config;
    expect(republish).toBeDefined();
    await connection.request(`$JS.API.STREAM.UPDATE.${streamName(bucket.name)}`, JSON.stringify(others));
    for (const key of ["a", "b"]) await bucket.put(key, "1");
    expect(await read(watcher, 3)).toEqual(["put hot=1 @1", "put a=1 @2", "put b=1 @3"]);
  });
});

describe("a message that somebody else publishes for the feed", () => {
  const publish = (sequence: number, value: string): void => {
    const fields = headers();
    fields.set("Nats-Stream", streamName(bucket.name));
    fields.set("Nats-Subject", `$KV.APP_${bucket.name}.hot`);
    fields.set("Nats-Sequence", String(sequence));
    fields.set("Nats-Time-Stamp", new Date().toISOString());
    fields.set("Nats-Last-Sequence", "0");
    connection.publish(`$IRONFLOW.feed.${streamName(bucket.name)}.hot`, value, { headers: fields });
  };

  test("is dropped where the stream is not that far", async () => {
    const watcher = await watch();
    await bucket.put("hot", "1");
    publish(5, "forged");
    await connection.flush();
    for (const value of ["2", "3", "4", "5"]) {
      await bucket.put("hot", value);
      const n = Number(value);
      if (n === 2) expect(await read(watcher, 2)).toEqual(["put hot=1 @1", "put hot=2 @2"]);
      else expect(await read(watcher, 1)).toEqual([`put hot=${n} @${n}`]);
    }
  });

  test("ends the watches that saw it when the stream has another one", async () => {
    const watcher = await watch();
    publish(1, "forged");
    expect(await read(watcher, 1)).toEqual(["put hot=forged @1"]);
    await bucket.put("hot", "1");
    await expect(watcher.next()).rejects.toMatchObject({ kind: "revision_in_future", revision: 1n });
  });
});

test("memory of recent changes stays within its budget, whatever the number of buckets", async () => {
  const bytesMax = 65_536;
  hubs = newHubs(connection, { recentChangesBytesMax: bytesMax });
  const others = await Promise.all(
    Array.from({ length: 12 }, (_, n) => TestBucket.create(connection, `${bucket.name}-${n}`)),
  );
  const watchers = await Promise.all(
    others.map(({ name }) => hubs.watch(name, { filters: [], start: "now" }, scope())),
  );
  for (let n = 0; n < 40; n++) await Promise.all(others.map((each) => each.put("hot", "x".repeat(1_000))));
  for (const watcher of watchers) await readThrough(watcher, 40n);
  // Each bucket keeps its last few, whatever their size.
  const used = hubs.stats().hubs.reduce((sum, { recentBytes }) => sum + recentBytes, 0);
  expect(used).toBeLessThanOrEqual(bytesMax);
  expect(used).toBeGreaterThan(bytesMax / 2);
});
