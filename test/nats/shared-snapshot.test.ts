/** Snapshot watches that begin together: each part of the bucket is read from NATS once for all of them. */
import { storeTest } from "../support/fixtures.js";
import { connect } from "../support/nats-connection.js";
import { until } from "../support/until.js";
import { expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import { storedMessageBytesMax } from "../../src/nats/client/message-reader.js";
import { Requests } from "../../src/nats/client/requests.js";
import { StreamApi } from "../../src/nats/read/stream-api.js";
import { Reader } from "../../src/nats/read/stream-reader.js";
import { SharedSnapshot } from "../../src/nats/watch/shared-snapshot.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { newBucketName } from "./store-contract.js";
import { linkOf } from "./store-support.js";
import { TestBucket } from "./watch-bucket.js";
import { newHubs, scope } from "./watching.js";

const KEYS = 48;
const VALUE = "v".repeat(300_000);
const BUCKET_BYTES = KEYS * VALUE.length;
const WATCHERS = 8;

const it = storeTest()
  .extend("filler", { scope: "file" }, ({ connection }) => connection)
  .extend("filled", ({ filler }) => async (history: number): Promise<string> => {
    const bucket = await TestBucket.create(filler, newBucketName(), { history });
    for (let key = 0; key < KEYS; key++) await bucket.put(`k${key}`, VALUE);
    return bucket.name;
  })
  .extend("consumersOf", ({ filler }) => async (bucket: string): Promise<number> => {
    const answer = await filler.request(`$JS.API.STREAM.INFO.${streamName(bucket)}`, "", { timeout: 20_000 });
    return answer.json<{ state: { consumer_count: number } }>().state.consumer_count;
  });

async function keysOf(watcher: Watcher): Promise<string[]> {
  const keys: string[] = [];
  for (;;) {
    const result = await watcher.next();
    if (result.done === true) throw new Error("the watch ended");
    if (result.value.type === "snapshot_end") return keys;
    if (result.value.type === "change") keys.push(result.value.entry.key);
  }
}

it.for([1, 5])(
  "snapshots that begin together are read once, with a history of %d",
  { timeout: 60_000 },
  async (history, { filled, server, consumersOf }) => {
    const bucket = await filled(history);
    const connection = await connect({ servers: server.url });
    const hubs = newHubs(connection);
    try {
      const before = connection.stats().inBytes;
      const watchers = await Promise.all(
        Array.from({ length: WATCHERS }, () =>
          hubs.watch(bucket, { filters: [], start: "snapshot" }, scope()),
        ),
      );
      const shown = await Promise.all(watchers.map(keysOf));
      const keys = Array.from({ length: KEYS }, (_, key) => `k${key}`);
      for (const each of shown) expect(each).toEqual(keys);
      // With a history of more than one, what the first request brought is read again.
      expect(connection.stats().inBytes - before).toBeLessThan(2 * BUCKET_BYTES);
      await Promise.all(watchers.map((watcher) => watcher.return()));
    } finally {
      await hubs.close();
      await connection.close();
    }
    expect(await consumersOf(bucket)).toBe(0);
  },
);

it.for([
  { readsAhead: true, how: "read ahead" },
  { readsAhead: false, how: "not read ahead" },
])(
  "keeps no more bytes than allowed, serves those behind, and leaves nothing on the server: $how",
  async ({ readsAhead }, { filled, server, consumersOf }) => {
    const bucket = await filled(1);
    const connection = await connect({ servers: server.url });
    const requests = new Requests(linkOf(connection));
    const stream = streamName(bucket);
    const api = new StreamApi(requests, bucket, stream, storedMessageBytesMax(DEFAULT_LIMITS));
    const bytesMax = 1_000_000;
    const keptBytesMax = 4 * bytesMax;
    let [opened, unused] = [0, 0];
    const source = {
      atOnce: () => Promise.resolve(undefined),
      open: (after: number) => {
        opened++;
        return Reader.open(api, subjectPrefix(bucket), ">", { start: { sequence: after + 1 }, bytesMax });
      },
    };
    const snapshot = new SharedSnapshot(source, keptBytesMax, () => unused++, readsAhead);
    const readAll = async (from: number): Promise<number[]> => {
      const revisions: number[] = [];
      for (let after = from; after < KEYS;) {
        const { changes } = await snapshot.part(after, 100);
        for (const { revision } of changes) revisions.push(revision);
        after = revisions.at(-1) ?? after;
      }
      return revisions;
    };
    const all = Array.from({ length: KEYS }, (_, index) => index + 1);
    try {
      snapshot.join();
      snapshot.join();
      expect(await readAll(0)).toEqual(all);
      expect(opened).toBe(1);
      expect(snapshot.keptBytesPeak).toBeGreaterThan(0);
      expect(snapshot.keptBytesPeak).toBeLessThanOrEqual(keptBytesMax);
      // The first parts are not kept any more.
      expect(await readAll(0)).toEqual(all);
      expect(opened).toBe(2);
      expect(snapshot.keptBytesPeak).toBeLessThanOrEqual(keptBytesMax);
      snapshot.leave();
      expect(unused).toBe(0);
      snapshot.leave();
      expect(unused).toBe(1);
      await api.settled();
      expect(await consumersOf(bucket)).toBe(0);
    } finally {
      requests.close();
      await connection.close();
    }
  },
);

it("reads a part with values while the one before is handled", async ({ filled, server }) => {
  const bucket = await filled(1);
  const connection = await connect({ servers: server.url });
  // The queue is full before all of the bucket is in it.
  const hubs = newHubs(connection, { ...DEFAULT_LIMITS, watchQueueBytesMax: 10 * 1_048_576 });
  try {
    const before = connection.stats().inBytes;
    const watcher = await hubs.watch(bucket, { filters: [], start: "snapshot" }, scope());
    await until("the queue is full", () => !watcher.hasCapacity());
    const aheadBytes = (): number => connection.stats().inBytes - before - watcher.queuedBytes;
    await until("another part was read", () => aheadBytes() > 2 * VALUE.length);
    expect(await keysOf(watcher)).toHaveLength(KEYS);
    await watcher.return();
  } finally {
    await hubs.close();
    await connection.close();
  }
});
