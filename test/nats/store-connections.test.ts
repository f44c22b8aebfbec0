/** The store has several connections. While NATS is available, a call waits for the one it needs, and repeats what was lost with it. */
import { describe, expect, vi } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { CallContext } from "../../src/kv/call-context.js";
import type { Link } from "../../src/nats/client/link.js";
import { WatchHubs } from "../../src/nats/watch/hubs.js";
import { storeTest } from "../support/fixtures.js";
import { WAIT } from "../support/until.js";
import { type FaultyLink, openFaultyLink } from "./faulty-link.js";
import { bytes, historyOf, refusal, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

interface Copy {
  readonly copy: OpenStore;
  readonly hubs: WatchHubs;
  readonly bucket: string;
}

/** What each of `calls` finds. */
const KEYS = ["a", "b"];

const it = storeTest({ bucket: {} })
  .extend("bulkLink", async ({ server }, { onCleanup }): Promise<FaultyLink> => {
    const link = await openFaultyLink(server.port);
    onCleanup(() => link.close());
    return link;
  })
  .extend("feedLink", async ({ server }, { onCleanup }): Promise<FaultyLink> => {
    const link = await openFaultyLink(server.port);
    onCleanup(() => link.close());
    return link;
  })
  /** A copy of the service whose connections fail one by one: the main one over `link`. */
  .extend("copy", async ({ link, bulkLink, feedLink }, { onCleanup }): Promise<OpenStore> => {
    const copy = await openStore(link.url, { bulkServers: bulkLink.url, feedServers: feedLink.url });
    onCleanup(async () => {
      for (const each of [link, bulkLink, feedLink]) each.heal();
      await copy.close();
    });
    return copy;
  })
  .extend("hubs", ({ copy }, { onCleanup }): WatchHubs => {
    const hubs = new WatchHubs({
      ...{ link: copy.bulk, feeds: copy.feeds, isClustered: false, limits: DEFAULT_LIMITS },
    });
    onCleanup(() => hubs.close());
    return hubs;
  });

/** Everything that reads over the bulk connection or needs a feed, with the keys that it finds. */
const calls: [string, string, (copy: Copy, within: CallContext) => Promise<unknown>][] = [
  [
    "GetHistory",
    "DIRECT.GET",
    async ({ copy, bucket }, within) => {
      const entries = await Promise.all(KEYS.map((key) => historyOf(copy.store, bucket, key, within)));
      return entries.map((found) => found.map(({ value }) => text(value))).flat();
    },
  ],
  [
    "ListKeys",
    "CONSUMER.CREATE",
    async ({ copy, bucket }, within) =>
      (await copy.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, within)).items,
  ],
  [
    "GetBucket",
    "CONSUMER.MSG.NEXT",
    async ({ copy, bucket }, within) => KEYS.slice(0, (await copy.store.getBucket(bucket, within)).values),
  ],
  [
    "ListBuckets",
    "STREAM.INFO",
    async ({ copy, bucket }, within) => {
      const shows = (name: string): boolean => name === bucket;
      const { items } = await copy.store.listBuckets({ limit: 0, pageToken: "" }, within, shows);
      return KEYS.slice(0, Number(items[0]?.values));
    },
  ],
  ["a watch of the present values", "DIRECT.GET", (copy, within) => watchedKeys(copy, "snapshot", within)],
  ["a watch of the history", "CONSUMER.CREATE", (copy, within) => watchedKeys(copy, "history", within)],
  ["a watch from a revision", "STREAM.INFO", (copy, within) => watchedKeys(copy, { revision: 1n }, within)],
  [
    "CompactBucket",
    "CONSUMER.CREATE",
    async ({ copy, bucket }, within) => {
      const { removed } = await copy.store.compactBucket(bucket, within);
      return removed === 1 ? KEYS : [];
    },
  ],
  [
    "Get",
    "DIRECT.GET",
    ({ copy, bucket }, within) =>
      Promise.all(KEYS.map(async (key) => text((await copy.store.get(bucket, key, 0n, within)).value))),
  ],
];

async function watchedKeys(
  { hubs, bucket }: Copy,
  start: "snapshot" | "history" | { revision: bigint },
  within: CallContext,
): Promise<string[]> {
  const watcher = await hubs.watch(bucket, { filters: [], start }, within);
  const keys: string[] = [];
  while (keys.length < KEYS.length) {
    const result = await watcher.next();
    if (result.done === true) throw new Error(`ended after ${keys.join()}`);
    const event = result.value;
    if (event.type === "change" && event.entry.operation === "put") keys.push(event.entry.key);
  }
  await watcher.return();
  return keys;
}

async function lose(connection: Link, link: FaultyLink): Promise<void> {
  link.isDown = true;
  link.cut();
  await vi.waitUntil(() => !connection.isConnected, WAIT);
}

/** Two keys with their names as values, and a deleted one. */
it.beforeEach(async ({ store, bucket }) => {
  for (const key of [...KEYS, "gone"]) await store.put(bucket, key, bytes(key), {}, scope());
  await store.delete(bucket, "gone", {}, scope());
});

describe.each(["bulk", "feed"] as const)("while only the %s connection is lost", (which) => {
  it.for(calls)(
    "%s waits until it is back",
    async ([, , call], { copy, hubs, bucket, bulkLink, feedLink }) => {
      const link = which === "bulk" ? bulkLink : feedLink;
      await lose(copy[which], link);
      const found = call({ copy, hubs, bucket }, scope(Infinity));
      link.heal();
      expect(await found).toEqual(KEYS);
    },
  );
});

it.for(calls)(
  "%s repeats a request whose answer is lost with the bulk connection",
  async ([, request, call], { copy, hubs, bucket, bulkLink }) => {
    const lost = bulkLink.loseAnswersTo(request);
    const found = call({ copy, hubs, bucket }, scope(Infinity));
    await lost;
    bulkLink.cut();
    expect(await found).toEqual(KEYS);
  },
);

/** A Get also uses the main connection. */
const readers = calls.filter(([name]) => name !== "Get");

it.for(readers)(
  "%s that waits for the bulk connection ends with its deadline",
  async ([, , call], { copy, hubs, bucket, bulkLink }) => {
    await lose(copy.bulk, bulkLink);
    const { kind } = await refusal(call({ copy, hubs, bucket }, scope(100)));
    expect(["deadline_exceeded", "unavailable"]).toContain(kind);
  },
);

it.for(readers)(
  "%s that waits for the bulk connection is refused as soon as NATS is unavailable",
  async ([, , call], { copy, hubs, bucket, link, bulkLink }) => {
    await lose(copy.bulk, bulkLink);
    const refused = refusal(call({ copy, hubs, bucket }, scope(Infinity)));
    await lose(copy.link, link);
    expect((await refused).kind).toBe("unavailable");
  },
);

const restarted = storeTest({ ownServer: {}, bucket: {} });

restarted(
  "a get waits for the check of its bucket after a restart of NATS, if the bulk connection is back later",
  async ({ server, store, bucket, link }) => {
    const copy = await openStore(server.url, { bulkServers: link.url });
    try {
      await store.put(bucket, "k", bytes("v"), {}, scope());
      await copy.store.get(bucket, "k", 0n, scope());
      link.isDown = true;
      await server.stop();
      await server.start();
      await vi.waitUntil(() => copy.link.isConnected, WAIT);
      const early = refusal(copy.store.get(bucket, "k", 0n, scope(100)));
      expect((await early).kind).toBe("deadline_exceeded");
      link.heal();
      expect(text((await copy.store.get(bucket, "k", 0n, scope())).value)).toBe("v");
    } finally {
      link.heal();
      await copy.close();
    }
  },
);
