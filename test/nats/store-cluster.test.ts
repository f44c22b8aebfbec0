/** The store on a cluster of three whose leaders are killed: compaction and pages of histories. */
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { streamName } from "../../src/kv/names.js";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import type { TestNatsServer } from "../support/nats-server.js";
import { expectRefusal, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { tick } from "./watching.js";

const KEYS = 60;

let cluster: TestCluster;
let open: OpenStore;
let bucket: string;

beforeAll(async () => {
  cluster = await startNatsCluster();
  const urls = cluster.servers.map(({ url }) => url);
  open = await openStore(urls, { isClustered: true, replicas: 3 });
});
afterAll(async () => {
  await open.close();
  await cluster.remove();
});
beforeEach(() => {
  bucket = newBucketName();
});

const WAITING: ReadonlySet<string> = new Set(["unavailable", "deadline_exceeded", "outcome_unknown"]);

/** Calls until the cluster has a leader that answers. */
async function stubbornly<Result>(call: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof KvError) || !WAITING.has(error.kind)) throw error;
      await tick();
    }
  }
}

async function leader(): Promise<TestNatsServer> {
  const { cluster: group } = await (await jetstreamManager(open.connection)).streams.info(streamName(bucket));
  const server = cluster.servers[Number(group?.leader?.slice(1))];
  if (server === undefined) throw new Error("no leader");
  return server;
}

const put = (key: string, value: string | Uint8Array): Promise<bigint> =>
  stubbornly(() => open.store.put(bucket, key, Buffer.from(value), {}, scope()));

async function liveKeys(): Promise<readonly string[]> {
  const page = await stubbornly(() => open.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope()));
  return page.items;
}

describe.each([1, 5])("a compaction with a history of %i", (history) => {
  it(
    "loses no live key and brings no deleted one back where the leader is killed meanwhile",
    { timeout: 180_000 },
    async () => {
      const { store } = open;
      await stubbornly(() => store.createBucket({ name: bucket, history }, scope()));
      const keys = Array.from({ length: KEYS }, (_, n) => `k${String(n).padStart(2, "0")}`);
      for (const value of ["1", "2"]) await Promise.all(keys.map((key) => put(key, value)));
      const live = keys.filter((_, n) => n % 2 === 0);
      const deleted = keys.filter((_, n) => n % 2 === 1);
      for (const key of deleted) await stubbornly(() => store.delete(bucket, key, {}, scope()));
      const killed = await leader();
      const compacted = stubbornly(() => store.compactBucket(bucket, scope()));
      await killed.stop("SIGKILL");
      await compacted;
      expect(await liveKeys()).toEqual(live);
      await killed.start();
      await put("after", "1");
      await stubbornly(() => store.compactBucket(bucket, scope()));
      // Whoever leads now has rebuilt what it holds, or compacted it.
      const second = await leader();
      await second.stop("SIGKILL");
      expect(await liveKeys()).toEqual(["after", ...live]);
      await second.start();
      for (const key of deleted)
        await expectRefusal(
          stubbornly(() => store.get(bucket, key, 0n, scope())),
          "key_not_found",
        );
      for (const key of live)
        expect(
          Buffer.from((await stubbornly(() => store.get(bucket, key, 0n, scope()))).value).toString(),
        ).toBe("2");
    },
  );
});

it(
  "a history is read in pages, also where the leader is killed between them",
  { timeout: 120_000 },
  async () => {
    const { store } = open;
    await stubbornly(() => store.createBucket({ name: bucket, history: 12 }, scope()));
    const revisions: bigint[] = [];
    for (let n = 0; n < 12; n++) revisions.push(await put("k", Buffer.alloc(700_000, n)));
    const read: bigint[] = [];
    let pages = 0;
    for (let pageToken = ""; ;) {
      const page = await stubbornly(() => store.history(bucket, "k", { limit: 10, pageToken }, scope()));
      read.push(...page.items.map(({ revision }) => revision));
      pages++;
      if (page.nextPageToken === "") break;
      pageToken = page.nextPageToken;
      if (pages === 1) {
        const killed = await leader();
        await killed.stop("SIGKILL");
        await killed.start();
      }
    }
    expect(read).toEqual(revisions);
    expect(pages).toBeGreaterThan(1);
  },
);
