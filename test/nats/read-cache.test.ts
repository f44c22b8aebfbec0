/** Reads answered from memory: never older than an acknowledged write, never older than an earlier read, and none where that can't be kept. */
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, refusal, refusalAtDeadline, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

const it = storeTest({ bucket: { history: 5 } })
  /** The store under test, over a link that can fail. `open` writes behind its back: what no program can do to an embedded server. */
  .extend("exclusive", async ({ link }, { onCleanup }) => {
    const exclusive = await openStore(link.url, { isExclusive: true });
    onCleanup(async () => {
      link.heal();
      await exclusive.close();
    });
    return exclusive;
  })
  .extend("read", ({ exclusive, bucket }) => usesOf(exclusive, bucket).read)
  .extend("put", ({ exclusive, bucket }) => usesOf(exclusive, bucket).put)
  .extend("asks", ({ exclusive, bucket }) => usesOf(exclusive, bucket).asks);

function usesOf({ store, connection }: OpenStore, bucket: string) {
  const read = async (key: string): Promise<string> =>
    text((await store.get(bucket, key, 0n, scope())).value);
  const put = (key: string, value: string): Promise<bigint> =>
    store.put(bucket, key, bytes(value), {}, scope());
  /** Whether a read of the key asks the storage. */
  const asks = async (key: string): Promise<boolean> => {
    const before = connection.stats().outMsgs;
    await read(key);
    return connection.stats().outMsgs > before;
  };
  return { read, put, asks };
}

describe("an entry that was read", () => {
  it("is answered from memory until its key is written", async ({ read, put, asks }) => {
    await put("a", "1");
    await put("b", "1");
    await read("a");
    expect(await asks("a")).toBe(false);
    await put("b", "2");
    expect(await asks("a")).toBe(false);
    await put("a", "2");
    expect(await asks("a")).toBe(true);
    expect(await read("a")).toBe("2");
    expect(await asks("a")).toBe(false);
  });

  it.for([{ purge: false }, { purge: true }])(
    "is gone once it was deleted (%o)",
    async (options, { exclusive, bucket, read, put }) => {
      await put("a", "1");
      await read("a");
      await exclusive.store.delete(bucket, "a", options, scope());
      expect((await refusal(exclusive.store.get(bucket, "a", 0n, scope()))).kind).toBe("key_not_found");
    },
  );

  it("is gone with its bucket, also where it was recreated", async ({ exclusive, bucket, read, put }) => {
    await put("a", "1");
    await read("a");
    await exclusive.store.deleteBucket(bucket, scope());
    expect((await refusal(exclusive.store.get(bucket, "a", 0n, scope()))).kind).toBe("bucket_not_found");
    await exclusive.store.createBucket({ name: bucket, history: 5 }, scope());
    expect((await refusal(exclusive.store.get(bucket, "a", 0n, scope()))).kind).toBe("key_not_found");
  });

  it("is not kept where entries go by themselves, also when the bucket became so", async ({
    exclusive,
    bucket,
    read,
    put,
    asks,
  }) => {
    await put("a", "1");
    await read("a");
    await exclusive.store.updateBucket(bucket, { ttlMs: 3_600_000 }, scope());
    expect(await asks("a")).toBe(true);
    expect(await asks("a")).toBe(true);
  });

  it("is asked for again after the connection was lost", async ({ exclusive, read, put, asks, link }) => {
    await put("a", "1");
    await read("a");
    const status = exclusive.connection.status();
    link.cut();
    for await (const { type } of status) if (type === "reconnect") break;
    expect(await asks("a")).toBe(true);
    expect(await asks("a")).toBe(false);
  });

  it("is asked for each time where a write of its key may yet happen", async ({
    exclusive,
    open,
    bucket,
    read,
    put,
    link,
  }) => {
    await put("a", "1");
    await read("a");
    const lost = await refusalAtDeadline(
      () => link.loseRequest("PUB $KV"),
      (within) => exclusive.store.put(bucket, "a", bytes("2"), {}, within),
    );
    expect(lost.kind).toBe("outcome_unknown");
    const status = exclusive.connection.status();
    link.heal();
    link.cut();
    for await (const { type } of status) if (type === "reconnect") break;
    expect(await read("a")).toBe("1");
    await open.store.put(bucket, "a", bytes("2"), {}, scope());
    expect(await read("a")).toBe("2");
  });

  it("is what the storage has, in memory of its own", async ({ exclusive, open, bucket, read, put }) => {
    await put("a", "1");
    await read("a");
    const entry = await exclusive.store.get(bucket, "a", 0n, scope());
    expect(entry.value.byteLength).toBe(entry.value.buffer.byteLength);
    const asStored = await open.store.get(bucket, "a", 0n, scope());
    expect(entry).toEqual({ ...asStored, value: Uint8Array.from(asStored.value) });
  });
});

it("evicts what was not read for long when it needs room", async ({ server, bucket }) => {
  const limits = { ...DEFAULT_LIMITS, readCacheBytesMax: 20_000 };
  const small = await openStore(server.url, { isExclusive: true, limits });
  const { read, put, asks } = usesOf(small, bucket);
  const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
  for (const key of keys) {
    await put(key, "x".repeat(500));
    await read(key);
    if (key !== "k1") await read("k0");
  }
  expect(await asks("k0")).toBe(false);
  expect(await asks("k49")).toBe(false);
  expect(await asks("k1")).toBe(true);
  await small.close();
});

it("keeps reads as new as every acknowledged write and every earlier read, under concurrency", async ({
  exclusive,
  bucket,
  put,
}) => {
  const keys = ["a", "b", "c"];
  /** The newest revision that anyone was told of, by key. */
  const told = new Map<string, bigint>(keys.map((key) => [key, 0n]));
  const tell = (key: string, revision: bigint): void => {
    if (revision > (told.get(key) ?? 0n)) told.set(key, revision);
  };
  const stale: string[] = [];
  let reads = 0;
  let seed = 1;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  for (const key of keys) tell(key, await put(key, ""));
  const client = async (): Promise<void> => {
    for (let count = 0; count < 400; count++) {
      const key = keys[random(keys.length)] ?? "a";
      const known = told.get(key) ?? 0n;
      if (random(10) === 0) {
        tell(key, await put(key, String(count)));
      } else {
        const { revision } = await exclusive.store.get(bucket, key, 0n, scope());
        if (revision < known) stale.push(`${key}: ${revision} after ${known}`);
        tell(key, revision);
        reads++;
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, client));
  expect(stale).toEqual([]);
  expect(reads).toBeGreaterThan(1_000);
  expect(exclusive.connection.stats().outMsgs).toBeLessThan(16 * 400);
});
