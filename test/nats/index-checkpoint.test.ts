/** A copy of a key index in a file never changes what is listed or counted, whatever happened to the storage meanwhile. */
import { cp, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { Store } from "../../src/kv/store.js";
import { IS_EXTENDED } from "../support/extended.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { until } from "../support/until.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

let server: TestNatsServer;
let folder: string;
beforeAll(async () => {
  server = await startNatsServer();
  folder = await mkdtemp(join(tmpdir(), "ironflow-index-"));
});
afterAll(async () => {
  await server.remove();
  await rm(folder, { recursive: true, force: true });
});

const limits = { ...DEFAULT_LIMITS, indexCheckpointKeysMin: 1 };
const ALL = { filters: [], prefix: "", startKey: "", endKey: "", limit: 0, isReverse: false };

/** Opens a store that restores its indexes, runs the task and closes it: its indexes are then written. */
async function withStore<Result>(
  task: (open: OpenStore) => Promise<Result>,
  deletedMax = limits.indexCheckpointDeletedMax,
): Promise<Result> {
  const open = await openStore(server.url, {
    ...{ isExclusive: true, indexFolder: folder },
    limits: { ...limits, indexCheckpointDeletedMax: deletedMax },
  });
  try {
    return await task(open);
  } finally {
    await open.close();
  }
}

async function withNats<Result>(task: (nats: NatsConnection) => Promise<Result>): Promise<Result> {
  const nats = await connect({ servers: server.url });
  try {
    return await task(nats);
  } finally {
    await nats.close();
  }
}

async function ask(operation: string, bucket: string, body?: object): Promise<void> {
  await withNats(async (nats) => {
    const request = body === undefined ? "" : JSON.stringify(body);
    const answer = await nats.request(`$JS.API.${operation}.${streamName(bucket)}`, request);
    expect(answer.json<{ error?: unknown }>().error).toBeUndefined();
  });
}

/** Every key with its revision and time, and the count. */
async function contentOf({ store }: { readonly store: Store }, bucket: string) {
  const entries: string[] = [];
  const scan = await store.scan(bucket, { ...ALL, keysOnly: true, allowNewer: false }, scope());
  for await (const part of scan)
    for (const { key, revision, createdAtMs } of part.entries)
      entries.push(`${key}@${revision}:${createdAtMs}`);
  return { entries, values: (await store.getBucket(bucket, scope())).values };
}

/** What an index says that reads all keys. */
async function truthOf(bucket: string) {
  const open = await openStore(server.url);
  try {
    return await contentOf(open, bucket);
  } finally {
    await open.close();
  }
}

async function filled(config: { history?: number; ttlMs?: number } = {}, keys = 20): Promise<string> {
  const bucket = newBucketName();
  await withStore(async (open) => {
    await open.store.createBucket({ name: bucket, ...config }, scope());
    for (let key = 0; key < keys; key++) await open.store.put(bucket, `k.${key}`, bytes("v"), {}, scope());
    await open.store.delete(bucket, "k.1", {}, scope());
    await contentOf(open, bucket);
  });
  return bucket;
}

/** Restarts the storage as it was when `save` was called. */
async function saved(): Promise<() => Promise<void>> {
  const copy = join(folder, "storage");
  await server.stop("SIGTERM");
  await rm(copy, { recursive: true, force: true });
  await cp(join(server.directory, "js"), copy, { recursive: true });
  await server.start();
  return async () => {
    await server.stop("SIGTERM");
    await rm(join(server.directory, "js"), { recursive: true });
    await cp(copy, join(server.directory, "js"), { recursive: true });
    await server.start();
  };
}

/** Lists the bucket with its copy, and compares that with the truth. Returns whether the copy was used. */
async function isRestoredRight(bucket: string, deletedMax?: number): Promise<boolean> {
  const truth = await truthOf(bucket);
  return withStore(async (open) => {
    expect(await contentOf(open, bucket)).toEqual(truth);
    const { loads, restores } = open.store.keyIndexes();
    return restores === 1 && loads === 1;
  }, deletedMax);
}

const put = (bucket: string, key: string): Promise<unknown> =>
  withNats((nats) => nats.request(subjectOf(bucket, key), "w"));

describe("a key index is restored from its copy", () => {
  it.each([1, 5])("where nothing or little was written since, with history %i", async (history) => {
    const bucket = await filled({ history });
    expect(await isRestoredRight(bucket)).toBe(true);
    await put(bucket, "k.2");
    await put(bucket, "new é");
    expect(await isRestoredRight(bucket)).toBe(true);
    await server.stop("SIGKILL");
    await server.start();
    expect(await isRestoredRight(bucket)).toBe(true);
  });
});

describe("a key index whose stream has more deleted sequences than are read", () => {
  it("is restored from its copy where the newest key and the number of keys agree", async () => {
    const bucket = await filled();
    // Deleted sequences between those that are stored.
    for (let key = 2; key < 12; key += 2) await put(bucket, `k.${key}`);
    expect(await isRestoredRight(bucket, 2)).toBe(true);
  });

  it("is read again where the newest key or the number of keys differs", async () => {
    const bucket = await filled();
    for (let key = 2; key < 12; key += 2) await put(bucket, `k.${key}`);
    await isRestoredRight(bucket, 2);
    await ask("STREAM.PURGE", bucket, { filter: subjectOf(bucket, "k.3") });
    expect(await isRestoredRight(bucket, 2)).toBe(false);
    const restore = await saved();
    await withStore(async (open) => {
      for (let key = 5; key < 12; key++) await open.store.put(bucket, `k.${key}`, bytes("2"), {}, scope());
      await contentOf(open, bucket);
    });
    await restore();
    for (let write = 0; write < 20; write++) await put(bucket, "k.11");
    expect(await isRestoredRight(bucket, 2)).toBe(false);
  });
});

describe("all keys are read again", () => {
  it("where the bucket was recreated", async () => {
    const bucket = await filled();
    await ask("STREAM.DELETE", bucket);
    const open = await openStore(server.url);
    await open.store.createBucket({ name: bucket }, scope());
    await open.close();
    for (let key = 0; key < 30; key++) await put(bucket, `k.${key}`);
    expect(await isRestoredRight(bucket)).toBe(false);
  });

  it("where another program purged keys without a trace, and wrote as many others", async () => {
    const bucket = await filled();
    await ask("STREAM.PURGE", bucket, { filter: subjectOf(bucket, "k.3") });
    expect(await isRestoredRight(bucket)).toBe(false);
    await ask("STREAM.PURGE", bucket, { filter: subjectOf(bucket, "k.4") });
    await put(bucket, "other");
    expect(await isRestoredRight(bucket)).toBe(false);
    await ask("STREAM.PURGE", bucket);
    expect(await isRestoredRight(bucket)).toBe(false);
  });

  it("where the storage was restored from an earlier state, and written since", async () => {
    const bucket = await filled();
    const restore = await saved();
    await withStore(async (open) => {
      for (let key = 5; key < 12; key++) await open.store.put(bucket, `k.${key}`, bytes("2"), {}, scope());
      await contentOf(open, bucket);
    });
    await restore();
    expect(await isRestoredRight(bucket)).toBe(false);
    await withStore(async (open) => {
      for (let key = 5; key < 12; key++) await open.store.put(bucket, `k.${key}`, bytes("2"), {}, scope());
      await contentOf(open, bucket);
    });
    await restore();
    // As many writes again: the last one is of the same key, so that nothing else is left of them.
    for (let write = 0; write < 20; write++) await put(bucket, "k.11");
    expect(await isRestoredRight(bucket)).toBe(false);
  });

  it("where a copy is damaged", async () => {
    const bucket = await filled();
    const names = async (): Promise<string[]> =>
      (await readdir(folder)).filter((name) => /^[0-9a-f]{32}$/.test(name));
    for (const name of await names()) await truncate(join(folder, name), 300);
    expect(await isRestoredRight(bucket)).toBe(false);
    for (const name of await names()) await writeFile(join(folder, name), "not a copy");
    expect(await isRestoredRight(bucket)).toBe(false);
    expect(await isRestoredRight(bucket)).toBe(true);
  });
});

/** Until a bucket has so many keys. */
async function untilExpired(bucket: string, values: number): Promise<void> {
  const open = await openStore(server.url);
  try {
    await until("the others have expired", async () => {
      const now = await open.store.getBucket(bucket, scope());
      return now.values <= values;
    });
  } finally {
    await open.close();
  }
}

it("entries that expired meanwhile are not listed, by the ttl of the bucket", async () => {
  const bucket = await filled({ ttlMs: 2_000 });
  await untilExpired(bucket, 0);
  await isRestoredRight(bucket);
});

it("entries that expired meanwhile are not listed, by ttls of their own", async () => {
  const bucket = await filled();
  const before = await withStore(async (open) => {
    const { values } = await open.store.getBucket(bucket, scope());
    for (const key of ["brief.1", "k.3"])
      await open.store.put(bucket, key, bytes("v"), { ttlMs: 1_000 }, scope());
    return values;
  });
  await untilExpired(bucket, before - 1);
  await isRestoredRight(bucket);
});

/** A sequence of numbers from a seed (Numerical Recipes). */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe.each([1, 3])("whatever happens, with history %i", (history) => {
  it.each(Array.from({ length: IS_EXTENDED ? 20 : 1 }, (_, seed) => seed + 1))(
    "lists are the same with a copy and without, seed %i",
    async (seed) => {
      const random = numbers(seed * 7_919 + history);
      const bucket = await filled({ history }, 12);
      const key = (): string => `k.${random(16)}`;
      const restore = await saved();
      const outside: (() => Promise<unknown>)[] = [
        () => put(bucket, key()),
        () => put(bucket, key()),
        () => ask("STREAM.PURGE", bucket, { filter: subjectOf(bucket, key()) }),
        () => ask("STREAM.PURGE", bucket, { filter: subjectOf(bucket, key()), keep: 1 }),
        () => server.stop("SIGKILL").then(() => server.start()),
        () => restore(),
      ];
      for (let round = 0; round < (IS_EXTENDED ? 8 : 4); round++) {
        await withStore(async (open) => {
          for (let step = random(6); step > 0; step--) {
            const [which, target] = [random(8), key()];
            if (which === 0) await open.store.delete(bucket, target, {}, scope());
            else if (which === 1) await open.store.delete(bucket, target, { purge: true }, scope());
            else if (which === 2) await open.store.compactBucket(bucket, scope());
            else await open.store.put(bucket, target, bytes("v"), {}, scope());
          }
          await contentOf(open, bucket);
        });
        for (let step = random(4); step > 0; step--) {
          const change = outside[random(outside.length)];
          await change?.();
        }
        await isRestoredRight(bucket);
      }
    },
    60_000,
  );
});
