/** The store on a cluster of three whose leaders are killed: compaction and pages of histories. */
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import { purgeStream } from "../../src/nats/client/jetstream-api.js";
import { Requests } from "../../src/nats/client/requests.js";
import { StreamApi } from "../../src/nats/read/stream-api.js";
import { Reader } from "../../src/nats/read/stream-reader.js";
import { IS_EXTENDED } from "../support/extended.js";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import type { TestNatsServer } from "../support/nats-server.js";
import { holdRequests } from "./held-requests.js";
import { expectRefusal, newBucketName, scope } from "./store-contract.js";
import { linkOf, type OpenStore, openStore } from "./store-support.js";
import { untilAvailable } from "./until-available.js";
import { tick } from "./watching.js";

const KEYS = 60;
/** For two elections on a busy machine. */
const TIMEOUT_MS = 300_000;

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
/** Of the test that runs: aborted where it ran out of time, so that it does not go on beside the next one. */
let running: AbortSignal;
beforeEach(({ signal }) => {
  running = signal;
  bucket = newBucketName();
});
afterEach(() => Promise.all(cluster.servers.map((server) => server.start())));

/** Repeats a call of the test until a leader answers it. */
const untilAnswered = <Result>(call: () => Promise<Result>): Promise<Result> =>
  untilAvailable(call, { retry: ["unavailable", "deadline_exceeded", "outcome_unknown"], signal: running });

/**
 * The server that leads the bucket's stream, once all copies of every stream are whole. Three copies bear the loss of one: a server that came back
 * with an empty log and has not caught up does not count in elections (raft.go of nats-server 2.15.1: runAsCandidate), so losing another one before
 * would leave a stream without a leader until that one is back.
 */
async function leaderOfWhole(): Promise<TestNatsServer> {
  const manager = await jetstreamManager(open.connection, { timeout: 1_000, checkAPI: false });
  const isWhole = async (name: string): Promise<boolean> => {
    const { cluster: group } = await manager.streams.info(name);
    const replicas = group?.replicas ?? [];
    return group?.leader !== undefined && replicas.length === 2 && replicas.every(({ current }) => current);
  };
  for (;;) {
    try {
      const names: string[] = [];
      for await (const name of manager.streams.names()) names.push(name);
      const whole = await Promise.all(names.map(isWhole));
      const { cluster: group } = await manager.streams.info(streamName(bucket));
      const server = cluster.servers[Number(group?.leader?.slice(1))];
      if (server !== undefined && whole.every(Boolean)) return server;
    } catch {
      // No leader yet.
    }
    running.throwIfAborted();
    await tick(50);
  }
}

const put = (key: string, value: string | Uint8Array): Promise<bigint> =>
  untilAnswered(() => open.store.put(bucket, key, Buffer.from(value), {}, scope()));

async function liveKeys(): Promise<readonly string[]> {
  const page = await untilAnswered(() =>
    open.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope()),
  );
  return page.items;
}

describe.each(IS_EXTENDED ? [1, 5] : [5])("a compaction with a history of %i", (history) => {
  it(
    "loses no live key and brings no deleted one back where the leader is killed meanwhile",
    { timeout: TIMEOUT_MS },
    async () => {
      const { store } = open;
      await untilAnswered(() => store.createBucket({ name: bucket, history }, scope()));
      const keys = Array.from({ length: KEYS }, (_, n) => `k${String(n).padStart(2, "0")}`);
      for (const value of ["1", "2"]) await Promise.all(keys.map((key) => put(key, value)));
      const live = keys.filter((_, n) => n % 2 === 0);
      const deleted = keys.filter((_, n) => n % 2 === 1);
      for (const key of deleted) await untilAnswered(() => store.delete(bucket, key, {}, scope()));
      const killed = await leaderOfWhole();
      const compacted = untilAnswered(() => store.compactBucket(bucket, scope()));
      await killed.stop("SIGKILL");
      await compacted;
      expect(await liveKeys()).toEqual(live);
      await killed.start();
      await put("after", "1");
      await untilAnswered(() => store.compactBucket(bucket, scope()));
      // The present leader has rebuilt what it holds, or compacted it.
      const second = await leaderOfWhole();
      await second.stop("SIGKILL");
      expect(await liveKeys()).toEqual(["after", ...live]);
      await second.start();
      for (const key of deleted)
        await expectRefusal(
          untilAnswered(() => store.get(bucket, key, 0n, scope())),
          "key_not_found",
        );
      for (const key of live)
        expect(
          Buffer.from((await untilAnswered(() => store.get(bucket, key, 0n, scope()))).value).toString(),
        ).toBe("2");
    },
  );
});

it(
  "a history is read in pages, also where the leader is killed between them",
  { timeout: TIMEOUT_MS },
  async () => {
    const { store } = open;
    await untilAnswered(() => store.createBucket({ name: bucket, history: 12 }, scope()));
    const revisions: bigint[] = [];
    for (let n = 0; n < 12; n++) revisions.push(await put("k", Buffer.alloc(700_000, n)));
    const read: bigint[] = [];
    let pages = 0;
    for (let pageToken = ""; ;) {
      const page = await untilAnswered(() => store.history(bucket, "k", { limit: 10, pageToken }, scope()));
      read.push(...page.items.map(({ revision }) => revision));
      pages++;
      if (page.nextPageToken === "") break;
      pageToken = page.nextPageToken;
      if (pages === 1) {
        const killed = await leaderOfWhole();
        await killed.stop("SIGKILL");
        await killed.start();
      }
    }
    expect(read).toEqual(revisions);
    expect(pages).toBeGreaterThan(1);
  },
);

it("a purge and a reader that no leader answered are asked for again", { timeout: TIMEOUT_MS }, async () => {
  await untilAnswered(() => open.store.createBucket({ name: bucket }, scope()));
  for (const key of ["a", "b"]) await put(key, "1");
  const { connection } = open;
  const requests = new Requests(linkOf(connection));
  const prefix = subjectPrefix(bucket);
  const stream = streamName(bucket);
  const withoutFirst = async <Result>(text: string, ask: () => Promise<Result>): Promise<Result> => {
    const lost = holdRequests(connection, text);
    const answer = ask();
    await lost.seen(1);
    lost.drop();
    return answer;
  };
  const purged = await withoutFirst("STREAM.PURGE", () =>
    purgeStream(requests, stream, { filter: `${prefix}a` }, scope(TIMEOUT_MS)),
  );
  expect(purged).toBe(1);
  const api = new StreamApi(requests, bucket, stream, 1_048_576);
  const reader = await withoutFirst("CONSUMER.CREATE", () =>
    Reader.open(api, prefix, ">", {
      ...{ start: { sequence: 1 }, bytesMax: 1_048_576, context: scope(TIMEOUT_MS) },
    }),
  );
  await reader.close();
  requests.close();
});
