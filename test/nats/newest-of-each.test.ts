/** Lists and snapshots of buckets whose messages do not fit in one pull: they have every key. */
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { subjectPrefix } from "../../src/kv/names.js";
import { storeTest } from "../support/fixtures.js";
import { newBucketName, scope } from "./store-contract.js";
import { newHubs } from "./watching.js";

const KEYS = 3_000;
const KEY_CHARS = 500;
const VALUE_BYTES = 2_000;

const it = storeTest();

describe.each([1, 5])("a bucket with a history of %i", (history) => {
  const bucket = newBucketName();
  const keys = Array.from({ length: KEYS }, (_, index) =>
    String(index).padStart(5, "0").padEnd(KEY_CHARS, "k"),
  );

  it.beforeAll(async ({ open }) => {
    await open.store.createBucket({ name: bucket, history }, scope());
    const value = Buffer.alloc(VALUE_BYTES, "v");
    const { connection } = open;
    for (const key of keys) connection.publish(subjectPrefix(bucket) + key, value);
    // Answered behind the messages.
    await connection.request(subjectPrefix(bucket) + (keys[0] ?? ""), value);
  });

  it("lists every key", async ({ open }) => {
    const listed: string[] = [];
    let pageToken = "";
    do {
      const page = await open.store.listKeys(bucket, [], { limit: 1_000, pageToken }, scope(60_000));
      listed.push(...page.items);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual(keys);
  });

  it("shows every key to a snapshot watch", async ({ open }) => {
    const hubs = newHubs(open.connection, { watchQueueBytesMax: 4 * DEFAULT_LIMITS.valueBytesMax });
    const watcher = await hubs.watch(bucket, { filters: [], start: "snapshot" }, scope(60_000));
    const shown: string[] = [];
    for (;;) {
      const result = await watcher.next();
      if (result.done === true) throw new Error("the watch ended");
      if (result.value.type === "snapshot_end") break;
      if (result.value.type === "change") shown.push(result.value.entry.key);
    }
    await hubs.close();
    expect(new Set(shown)).toEqual(new Set(keys));
  });
});
