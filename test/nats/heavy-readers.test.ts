/**
 * Heavy reads and writes of some buckets, all at once, on a server that closes a connection with 64 MiB unread, as outside servers do by default: no
 * connection is lost, no call of another bucket fails, what is reserved stays within the budget, and few bulk reads are under way at once. EXTENDED=1 also runs each of the reads
 * alone, which shows the one that fails.
 */
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";
import { bulkScheduler } from "../../src/kv/bulk-scheduler.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import type { Store } from "../../src/kv/store.js";
import { SMALL_ANSWER_BYTES } from "../../src/nats/client/requests.js";
import { WatchHubs } from "../../src/nats/watch/hubs.js";
import { IS_EXTENDED } from "../support/extended.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

const MEBIBYTE = 1_048_576;
/** No deadline of a call but the end of its test: how long a list takes says nothing here. */
const CALL_MS = 600_000;
/** Keys of the bucket that is listed and counted, and of the one with long keys. */
const WIDE_KEYS = IS_EXTENDED ? 200_000 : 20_000;
const LONG_KEYS = IS_EXTENDED ? 45_000 : 5_000;
const FEEDS = 6;
const FEED_WRITES = 40;
/** Keys of one BatchGet and of one import. */
const BATCH_KEYS = 1_000;
/** Imports and commits at once. */
const WRITERS = 4;
/** The largest page, such as that of a BatchGet, which is one message, and what handling its keys counts for. */
const PIECE_BYTES_MAX = DEFAULT_LIMITS.pageBytesMax + MEBIBYTE;

let server: TestNatsServer;
let filler: NatsConnection;
let open: OpenStore;
let store: Store;
let hubs: WatchHubs;
let disconnects: number;

/** nats-server drops what a stream has not stored when 10,000 messages wait (`max_buffered_msgs`). */
const UNSTORED_MESSAGES_MAX = 8_000;

/** Stores messages without waiting for each. */
async function fill(
  bucket: string,
  count: number,
  key: (index: number) => string,
  value: string | Uint8Array,
): Promise<void> {
  const fitting = Math.max(1, Math.floor((16 * MEBIBYTE) / (value.length + 100)));
  const perFlush = Math.min(UNSTORED_MESSAGES_MAX, fitting);
  for (let index = 0; index < count; index++) {
    filler.publish(subjectPrefix(bucket) + key(index), value);
    if (index % perFlush === perFlush - 1) await stored(bucket, index + 1);
  }
  await stored(bucket, count);
}

async function stored(bucket: string, count: number): Promise<void> {
  for (;;) {
    const answer = await filler.request(`$JS.API.STREAM.INFO.${streamName(bucket)}`, "", { timeout: 20_000 });
    const { state } = answer.json<{ state: { last_seq: number } }>();
    if (state.last_seq >= count) return;
  }
}

beforeAll(async () => {
  server = await startNatsServer();
  filler = await connect({ servers: server.url });
  const setUp = await openStore(server.url);
  const create = (name: string, history = 1, ttlMs = 0): Promise<unknown> =>
    setUp.store.createBucket({ name, history, ttlMs }, scope(CALL_MS));
  await create("quiet");
  await create("deep", 64);
  await fill("deep", 64, () => "k", Buffer.alloc(MEBIBYTE - 1_024, 1));
  await create("wide");
  await fill("wide", WIDE_KEYS, (index) => `some.longer.key.${index}`, "v");
  await create("middle");
  await fill("middle", 20_000, (index) => `k${index}`, "v");
  await create("ttl", 1, 3_600_000);
  await fill("ttl", 20_000, (index) => `k${index}`, "v");
  await create("snapshot");
  await fill("snapshot", 40, (index) => `k${index}`, Buffer.alloc(MEBIBYTE - 1_024, 1));
  await create("long");
  await fill("long", LONG_KEYS, (index) => `${"=C3=A9".repeat(180)}${index}`, "v");
  await create("batches");
  await fill("batches", BATCH_KEYS, (index) => `k${index}`, Buffer.alloc(4_096, 1));
  for (let feed = 0; feed < FEEDS; feed++) await create(`feed${feed}`);
  for (let writer = 0; writer < WRITERS; writer++) await create(`import${writer}`);
  for (let writer = 0; writer < WRITERS; writer++) await create(`commit${writer}`);
  await setUp.close();
}, 300_000);
afterAll(async () => {
  await filler.close();
  await server.remove();
});
beforeEach(async () => {
  open = await openStore(server.url);
  store = open.store;
  disconnects = 0;
  for (const link of [open.link, open.bulk]) link.onDisconnect(() => disconnects++);
  hubs = new WatchHubs({
    link: open.bulk,
    feeds: open.feeds,
    isClustered: false,
    limits: DEFAULT_LIMITS,
  });
});
afterEach(async () => {
  await hubs.close();
  await open.close();
});

const many = <Result>(count: number, call: () => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: count }, call));
const list = (bucket: string, limit = 0): Promise<unknown> =>
  store.listKeys(bucket, [], { limit, pageToken: "" }, scope(CALL_MS));

async function snapshot(): Promise<void> {
  const watcher = await hubs.watch("snapshot", { filters: [], start: "snapshot" }, scope(CALL_MS));
  for await (const event of watcher) if (event.type === "snapshot_end") return;
}

async function feed(index: number): Promise<void> {
  const bucket = `feed${index}`;
  const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope(CALL_MS));
  const value = Buffer.alloc(MEBIBYTE - 1_024, 1);
  for (let write = 0; write < FEED_WRITES; write++)
    filler.publish(`${subjectPrefix(bucket)}k${write}`, value);
  filler.publish(`${subjectPrefix(bucket)}last`, "v");
  for await (const event of watcher) if (event.type === "change" && event.entry.key === "last") return;
}

async function canceledGets(): Promise<void> {
  for (let count = 0; count < 300; count++) {
    const caller = new AbortController();
    const read = store
      .get("snapshot", `k${count % 40}`, 0n, scope(CALL_MS, caller.signal))
      .catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    caller.abort();
    if (count % 50 === 49) await read;
  }
}

async function historyPage(): Promise<void> {
  let pageToken = "";
  do {
    const page = await store.history("deep", "k", { limit: 10, pageToken }, scope(CALL_MS));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

/** Lists while the bucket changes, so that what a scan passed over is looked for. */
async function listWhileChanging(): Promise<void> {
  const over = new AbortController();
  const listed = list("long", 10).finally(() => over.abort());
  listed.catch(() => undefined);
  for (let count = 0; !over.signal.aborted; count++) {
    filler.publish(`${subjectPrefix("long")}changing${count % 10}`, "v");
    await filler.flush();
  }
  await listed;
}

async function batch(): Promise<void> {
  const keys = Array.from({ length: BATCH_KEYS }, (_, index) => `k${index}`);
  // An answer has as many values as fit.
  for (let left: readonly string[] = keys; left.length > 0;) {
    const { results, unreadKeys } = await store.batchGet("batches", left, 0n, scope(CALL_MS));
    for (const { entry } of results) expect(entry?.value.length).toBe(4_096);
    left = unreadKeys;
  }
}

/** What an export reads. */
async function allHistory(bucket: string): Promise<void> {
  const watcher = await hubs.watch(bucket, { filters: [], start: "history" }, scope(CALL_MS));
  for await (const event of watcher) if (event.type === "snapshot_end") return;
}

async function importMuch(writer: number): Promise<void> {
  const bucket = `import${writer}`;
  const entry = { operation: "put", contentType: "", value: Buffer.alloc(4_096, 1) } as const;
  const entries = Array.from({ length: BATCH_KEYS }, (_, index) => ({ ...entry, key: `k${index}` }));
  let { revision } = await store.getBucket(bucket, scope(CALL_MS));
  for (let left = entries; left.length > 0;) {
    const result = await store.importEntries(bucket, revision, left, scope(CALL_MS));
    left = left.slice(result.imported);
    ({ revision } = result);
  }
}

/** As much as one commit may have. */
async function commitMuch(writer: number): Promise<void> {
  const value = Buffer.alloc(MEBIBYTE - 8_192, 1);
  const operations = Array.from({ length: 8 }, (_, index) => ({
    ...({ type: "put", key: `k${index}`, options: {} } as const),
    value,
  }));
  for (let count = 0; count < 2; count++)
    await store.commit(`commit${writer}`, operations, {}, scope(CALL_MS));
}

const writers = (write: (writer: number) => Promise<void>): Promise<unknown> =>
  Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));

const LOADS: readonly [string, () => Promise<unknown>][] = [
  ["2 histories of 64 MiB", () => many(2, historyPage)],
  [`4 lists of ${WIDE_KEYS} keys`, () => many(4, () => list("wide"))],
  ["128 lists of 10 of 20,000 keys", () => many(128, () => list("middle", 10))],
  ["64 lists of a bucket with a ttl", () => many(64, () => list("ttl", 10))],
  [`24 counts of ${WIDE_KEYS} keys`, () => many(24, () => store.getBucket("wide", scope(CALL_MS)))],
  ["16 snapshots of 40 MiB", () => many(16, snapshot)],
  [
    `live feeds of ${FEEDS} buckets under 1 MiB values`,
    () => Promise.all(Array.from({ length: FEEDS }, (_, index) => feed(index))),
  ],
  ["300 canceled gets of 1 MiB", canceledGets],
  [`a list of ${LONG_KEYS} long keys that change`, listWhileChanging],
  [`32 batches of ${BATCH_KEYS} keys of 4 KiB`, () => many(32, batch)],
  ["2 exports of 20,000 values", () => many(2, () => allHistory("middle"))],
  ["4 exports of 40 MiB", () => many(4, () => allHistory("snapshot"))],
  [`${WRITERS} imports of ${BATCH_KEYS} values of 4 KiB`, () => writers(importMuch)],
  [`${WRITERS} times 2 commits of 8 MiB`, () => writers(commitMuch)],
];

/** Writes and reads a bucket of its own until told to stop; returns how many calls there were. */
async function innocent(writer: number, isOver: () => boolean): Promise<number> {
  let calls = 0;
  for (; !isOver(); calls += 2) {
    await store.put("quiet", `w${writer}`, bytes(`${calls}`), {}, scope(CALL_MS));
    const { value } = await store.get("quiet", `w${writer}`, 0n, scope(CALL_MS));
    expect(Buffer.from(value).toString()).toBe(`${calls}`);
  }
  return calls;
}

async function beside(load: () => Promise<unknown>): Promise<void> {
  let isOver = false;
  const others = Promise.all(Array.from({ length: 16 }, (_, writer) => innocent(writer, () => isOver)));
  others.catch(() => undefined);
  await load().finally(() => (isOver = true));
  const calls = await others;
  expect(Math.min(...calls)).toBeGreaterThan(0);
  expect(disconnects).toBe(0);
  const budget = DEFAULT_LIMITS.natsUnreadBytesMax;
  for (const { unread } of [open.link, open.bulk])
    expect(unread.peak).toBeLessThanOrEqual(budget + 1_024 * SMALL_ANSWER_BYTES);
  const { bulkReads } = open.bulk;
  expect(bulkReads.peak).toBeLessThanOrEqual(bulkReads.readsMax);
  expect(bulkScheduler.turnBytesPeak).toBeLessThanOrEqual(PIECE_BYTES_MAX);
}

describe("16 clients of another bucket are not disturbed by", () => {
  it.runIf(IS_EXTENDED).each(LOADS)("%s", (_, load) => beside(load), 120_000);

  it("all of these at once", () => beside(() => Promise.all(LOADS.map(([, load]) => load()))), 300_000);
});
