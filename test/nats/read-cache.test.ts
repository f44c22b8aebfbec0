/** Reads answered from memory: never older than an acknowledged write, never older than an earlier read, and none where that can't be kept. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type FaultyLink, openFaultyLink } from "./faulty-link.js";
import { bytes, newBucketName, refusal, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

let server: TestNatsServer;
let link: FaultyLink;
/** The store under test, and one that writes behind its back: what no program can do to an embedded server. */
let exclusive: OpenStore;
let other: OpenStore;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer();
  other = await openStore(server.url);
});

afterAll(async () => {
  await other.close();
  await server.remove();
});

beforeEach(async () => {
  link = await openFaultyLink(server.port);
  exclusive = await openStore(link.url, { isExclusive: true });
  bucket = newBucketName();
  await exclusive.store.createBucket({ name: bucket, history: 5 }, scope());
});

afterEach(async () => {
  link.heal();
  await exclusive.close();
  await link.close();
});

const read = async (key: string): Promise<string> =>
  text((await exclusive.store.get(bucket, key, 0n, scope())).value);
const put = (key: string, value: string): Promise<bigint> =>
  exclusive.store.put(bucket, key, bytes(value), {}, scope());
/** Whether a read of the key asks the storage. */
async function asks(key: string): Promise<boolean> {
  const before = exclusive.connection.stats().outMsgs;
  await read(key);
  return exclusive.connection.stats().outMsgs > before;
}

describe("an entry that was read", () => {
  it("is answered from memory until its key is written", async () => {
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

  it.each([{ purge: false }, { purge: true }])("is gone once it was deleted (%o)", async (options) => {
    await put("a", "1");
    await read("a");
    await exclusive.store.delete(bucket, "a", options, scope());
    expect((await refusal(exclusive.store.get(bucket, "a", 0n, scope()))).kind).toBe("key_not_found");
  });

  it("is gone with its bucket, also where that was made again", async () => {
    await put("a", "1");
    await read("a");
    await exclusive.store.deleteBucket(bucket, scope());
    expect((await refusal(exclusive.store.get(bucket, "a", 0n, scope()))).kind).toBe("bucket_not_found");
    await exclusive.store.createBucket({ name: bucket, history: 5 }, scope());
    expect((await refusal(exclusive.store.get(bucket, "a", 0n, scope()))).kind).toBe("key_not_found");
  });

  it("is not kept where entries go by themselves, also when the bucket became so", async () => {
    await put("a", "1");
    await read("a");
    await exclusive.store.updateBucket(bucket, { ttlMs: 3_600_000 }, scope());
    expect(await asks("a")).toBe(true);
    expect(await asks("a")).toBe(true);
  });

  it("is asked for again after the connection was lost", async () => {
    await put("a", "1");
    await read("a");
    const status = exclusive.connection.status();
    link.cut();
    for await (const { type } of status) if (type === "reconnect") break;
    expect(await asks("a")).toBe(true);
    expect(await asks("a")).toBe(false);
  });

  it("is asked for each time where a write of its key may yet happen", async () => {
    await put("a", "1");
    await read("a");
    const isLost = link.loseRequest("PUB $KV");
    const lost = exclusive.store.put(bucket, "a", bytes("2"), {}, scope(500));
    await isLost;
    expect((await refusal(lost)).kind).toBe("outcome_unknown");
    const status = exclusive.connection.status();
    link.heal();
    link.cut();
    for await (const { type } of status) if (type === "reconnect") break;
    expect(await read("a")).toBe("1");
    await other.store.put(bucket, "a", bytes("2"), {}, scope());
    expect(await read("a")).toBe("2");
  });

  it("is what the storage has, in memory of its own", async () => {
    await put("a", "1");
    await read("a");
    const entry = await exclusive.store.get(bucket, "a", 0n, scope());
    expect(entry.value.byteLength).toBe(entry.value.buffer.byteLength);
    const asStored = await other.store.get(bucket, "a", 0n, scope());
    expect(entry).toEqual({ ...asStored, value: Uint8Array.from(asStored.value) });
  });
});

it("lets those go that were not read for long when there is no room for all", async () => {
  await exclusive.close();
  const limits = { ...DEFAULT_LIMITS, readCacheBytesMax: 20_000 };
  exclusive = await openStore(link.url, { isExclusive: true, limits });
  const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
  for (const key of keys) {
    await put(key, "x".repeat(500));
    await read(key);
    if (key !== "k1") await read("k0");
  }
  expect(await asks("k0")).toBe(false);
  expect(await asks("k49")).toBe(false);
  expect(await asks("k1")).toBe(true);
});

it("keeps reads as new as every acknowledged write and every earlier read, under concurrency", async () => {
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
