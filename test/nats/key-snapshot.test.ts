/** Snapshots without values come from the key index: the same entries, in the same order, without a read of the stream. */
import { headers } from "@nats-io/transport-node";
import { describe, expect } from "vitest";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { Entry } from "../../src/kv/entry.js";
import type { Store } from "../../src/kv/store.js";
import { storeTest } from "../support/fixtures.js";
import { openStore } from "./store-support.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { newHubs } from "./watching.js";

const it = storeTest();
/** More than one request reads. */
const KEYS = 1_300;
const EMPTY = new Uint8Array(0);

interface Snapshot {
  readonly entries: Entry[];
  readonly changes: Entry[];
  readonly end: bigint;
}

/** A snapshot's entries up to its end, as those of the snapshot itself and later changes. */
async function snapshotOf(
  store: Store,
  bucket: string,
  filters: readonly string[],
  keysOnly: boolean,
): Promise<Snapshot> {
  const { revision } = await store.getBucket(bucket, scope());
  const watch = await store.watch(bucket, { filters, start: "snapshot", keysOnly }, scope());
  const [entries, changes]: [Entry[], Entry[]] = [[], []];
  for await (const event of watch) {
    if (event.type === "snapshot_end") return { entries, changes, end: event.revision };
    if (event.type === "change") (event.entry.revision > revision ? changes : entries).push(event.entry);
  }
  throw new Error("the watch ended");
}

describe.each([1, 5])("a snapshot without values of a bucket with history %i", (history) => {
  it("has the entries of one with values, and reads no stream", async ({ server, connection }) => {
    const hubs = newHubs(connection);
    const open = await openStore(server.url, { watches: hubs });
    const { store } = open;
    try {
      const bucket = newBucketName();
      await store.createBucket({ name: bucket, history }, scope());
      for (let key = 0; key < KEYS; key++) {
        const typed = headers();
        typed.set("Content-Type", `text/x-${key % 5}`);
        connection.publish(
          subjectOf(bucket, `k.${key % 7} é ${key}`),
          bytes("v"),
          key % 3 === 0 ? { headers: typed } : {},
        );
      }
      await connection.flush();
      const put = (key: string, options: Parameters<Store["put"]>[3]): Promise<bigint> =>
        store.put(bucket, key, bytes("w"), options, scope());
      await put("k.1 é 1", {});
      await put("described", { metadata: { a: "b" }, contentType: "text/plain" });
      if (history === 1) await put("short", { ttlMs: 3_600_000 });
      await store.delete(bucket, "k.2 é 2", {}, scope());
      const consumers: string[] = [];
      const listening = connection.subscribe(`$JS.API.CONSUMER.CREATE.${streamName(bucket)}.>`, {
        callback: (_, message) => {
          consumers.push(message.subject);
        },
      });
      for (const filters of [[], ["k.1 é *", "k.3.>", "described"], ["k.*"], ["none.>"]]) {
        const full = await snapshotOf(store, bucket, filters, false);
        await connection.flush();
        consumers.length = 0;
        const bare = await snapshotOf(store, bucket, filters, true);
        await connection.flush();
        expect(consumers).toEqual([]);
        expect(bare.entries).toEqual(full.entries.map((entry) => ({ ...entry, value: EMPTY })));
        expect(bare.end).toBe(full.end);
      }
      listening.unsubscribe();
    } finally {
      await open.close();
      await hubs.close();
    }
  });

  it.for([false, true])(
    "has every key that is live at its end, keys only: %s",
    async (keysOnly, { server, connection }) => {
      const hubs = newHubs(connection, { watchQueueEventsMax: 64 });
      const open = await openStore(server.url, { watches: hubs });
      const { store } = open;
      try {
        const bucket = newBucketName();
        await store.createBucket({ name: bucket, history }, scope());
        const subjects = Array.from({ length: KEYS }, (_, key) => subjectOf(bucket, `k.${key}`));
        for (const subject of subjects) connection.publish(subject, bytes("v"));
        await connection.flush();
        let isOver = false;
        const write = async (): Promise<void> => {
          for (let at = 0; !isOver && at < 20 * KEYS; at += 7)
            await connection.request(subjects[(at * 31) % KEYS] ?? "", bytes("w"), { timeout: 20_000 });
        };
        const writing = write();
        const { entries, changes } = await snapshotOf(store, bucket, [], keysOnly);
        isOver = true;
        await writing;
        const live = new Set([...entries, ...changes].map(({ key }) => key));
        expect(live.size).toBe(KEYS);
      } finally {
        await open.close();
        await hubs.close();
      }
    },
  );
});
