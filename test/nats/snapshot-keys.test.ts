/** Snapshots of buckets with more keys than one response holds, with and without values. */
import { headers } from "@nats-io/transport-node";
import { storeTest } from "../support/fixtures.js";
import { connect } from "../support/nats-connection.js";
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectOf, subjectPrefix } from "../../src/kv/names.js";
import type { Entry } from "../../src/kv/entry.js";
import { Reader } from "../../src/nats/read/stream-reader.js";
import { storedMessageBytesMax } from "../../src/nats/client/message-reader.js";
import { Requests } from "../../src/nats/client/requests.js";
import { StreamApi } from "../../src/nats/read/stream-api.js";
import { SharedSnapshot } from "../../src/nats/watch/shared-snapshot.js";
import { newBucketName } from "./store-contract.js";
import { linkOf } from "./store-support.js";
import { TestBucket } from "./watch-bucket.js";
import { newHubs, scope } from "./watching.js";

/** More than nats-server answers for in one direct get. */
const KEYS = 1_300;
const VALUE_BYTES = 2_000;

const it = storeTest()
  .extend("filler", { scope: "file" }, ({ connection }) => connection)
  .extend("filled", ({ filler }) => async (history: number): Promise<string> => {
    const bucket = await TestBucket.create(filler, newBucketName(), { history });
    for (let key = 0; key < KEYS; key++) {
      const contentType = headers();
      contentType.set("Content-Type", `text/x-${key}`);
      const options = key % 3 === 0 ? { headers: contentType } : {};
      filler.publish(subjectOf(bucket.name, `k.${key % 7} é ${key}`), new Uint8Array(VALUE_BYTES), options);
    }
    // The last of a connection's messages: the others are stored.
    await bucket.put("last", "v");
    await bucket.delete("last");
    return bucket.name;
  })
  /** The entries of a snapshot, and what was read for it. */
  .extend(
    "snapshotOf",
    ({ server }) =>
      async (
        bucket: string,
        keysOnly: boolean,
        filters: readonly string[] = [],
      ): Promise<{ entries: Entry[]; inBytes: number; directGets: number }> => {
        const connection = await connect({ servers: server.url });
        const observer = await connect({ servers: server.url });
        let directGets = 0;
        const count = (): void => {
          directGets++;
        };
        observer.subscribe(`$JS.API.DIRECT.GET.${streamName(bucket)}`, { callback: count });
        await observer.flush();
        const hubs = newHubs(connection);
        try {
          const watch = await hubs.watch(bucket, { filters, start: "snapshot", keysOnly }, scope());
          const entries: Entry[] = [];
          for await (const event of watch) {
            if (event.type === "snapshot_end") break;
            if (event.type === "change") entries.push(event.entry);
          }
          await observer.flush();
          return { entries, inBytes: connection.stats().inBytes, directGets };
        } finally {
          await hubs.close();
          await connection.close();
          await observer.close();
        }
      },
  );

describe.each([1, 5])("a snapshot of a large bucket with history %i", (history) => {
  it("is not asked for with one request, which nats-server refuses after it has collected all keys", async ({
    filled,
    snapshotOf,
  }) => {
    const bucket = await filled(history);
    const { entries, directGets } = await snapshotOf(bucket, false);
    expect(entries).toHaveLength(KEYS);
    expect(directGets).toBe(0);
    const few = await snapshotOf(bucket, false, ["k.5 é 5"]);
    expect(few.entries.map(({ key }) => key)).toEqual(["k.5 é 5"]);
    expect(few.directGets).toBe(1);
  });

  it("has the same entries without values, in the order of revisions, and reads no values", async ({
    filled,
    snapshotOf,
  }) => {
    const bucket = await filled(history);
    const full = await snapshotOf(bucket, false);
    const bare = await snapshotOf(bucket, true);
    expect(bare.entries).toEqual(full.entries.map((entry) => ({ ...entry, value: new Uint8Array(0) })));
    const revisions = bare.entries.map(({ revision }) => revision);
    expect(revisions).toEqual(revisions.toSorted((one, other) => (one < other ? -1 : 1)));
    expect(full.inBytes).toBeGreaterThan(KEYS * VALUE_BYTES);
    expect(bare.inBytes).toBeLessThan((KEYS * VALUE_BYTES) / 4);
  });
});

it("the parts of a snapshot that are kept count with the memory that small changes take", async ({
  filled,
  server,
}) => {
  const bucket = await filled(1);
  const connection = await connect({ servers: server.url });
  const requests = new Requests(linkOf(connection));
  const api = new StreamApi(requests, bucket, streamName(bucket), storedMessageBytesMax(DEFAULT_LIMITS));
  const options = { bytesMax: 1_000_000, headersOnly: true };
  const source = {
    atOnce: () => Promise.resolve(undefined),
    open: (after: number) =>
      Reader.open(api, subjectPrefix(bucket), ">", { ...options, start: { sequence: after + 1 } }),
  };
  const snapshot = new SharedSnapshot(source, 1_000_000, () => undefined, true);
  try {
    snapshot.join();
    let [changes, last] = [0, 0];
    while (changes < KEYS) {
      const part = await snapshot.part(last, 100);
      changes += part.changes.length;
      last = part.changes.at(-1)?.revision ?? last;
    }
    // All of them would be kept if only their keys counted.
    expect(snapshot.keptBytesPeak).toBeGreaterThan(100 * 1_000);
    expect(snapshot.keptBytesPeak).toBeLessThanOrEqual(1_000_000);
    snapshot.leave();
    await api.settled();
  } finally {
    requests.close();
    await connection.close();
  }
});
