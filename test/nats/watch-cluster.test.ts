/** Watches on a cluster of three: the leader of a bucket's stream is moved and killed, and nothing is missed, doubled or reordered. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { streamName } from "../../src/kv/names.js";
import type { WatchEvent, WatchOptions } from "../../src/kv/watch.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import { freePort, startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { TestBucket } from "./watch-bucket.js";
import { compare, type Watched, type Written } from "./watch-model.js";
import { newHubs, scope, tick } from "./watching.js";
import { until } from "../support/until.js";

const SERVERS = 3;
const HISTORY = 64;

let servers: TestNatsServer[];
let connection: NatsConnection;
let hubs: WatchHubs;

beforeAll(async () => {
  const ports = await Promise.all(Array.from({ length: SERVERS }, freePort));
  const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(", ");
  servers = await Promise.all(
    ports.map((port, n) =>
      startNatsServer({
        config: `server_name: n${n}\ncluster { name: watched, listen: "127.0.0.1:${port}", routes: [${routes}] }`,
      }),
    ),
  );
  connection = await connect({
    servers: servers.map(({ url }) => url),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  // A request that is sent before the cluster has a leader is never answered.
  await untilAnswered(async () => {
    const answer = await connection.request("$JS.API.INFO", "", { timeout: 1_000 });
    if (answer.json<{ error?: unknown }>().error !== undefined) throw new Error("no leader yet");
  });
  hubs = newHubs(connection, {}, true);
});
afterAll(async () => {
  await hubs.close();
  await connection.close();
  await Promise.all(servers.map((server) => server.remove()));
});

test("survive moves of the leader, and the death of a server", { timeout: 300_000 }, async () => {
  const bucket = await createdBucket();
  const written: Written[] = [];
  const progress = { last: 0n, isWriting: true, clock: 0 };
  const write = async (writer: number): Promise<void> => {
    for (let n = 0; progress.isWriting; n++) {
      const key = `w${writer}.${Math.floor(n / 8)}`;
      const value = `${writer}-${n}`;
      const begunAt = ++progress.clock;
      const revision = await untilAnswered(() => bucket.put(key, value, value));
      written.push({ revision, key, operation: "put", value, begunAt });
      if (revision > progress.last) progress.last = revision;
      await tick(1);
    }
  };
  const writers = [0, 1, 2, 3].map(write);
  const starts: WatchOptions["start"][] = ["now", "snapshot", "history", { revision: 1n }];
  const open = (n: number): Promise<Watched> =>
    watchAll(bucket, { filters: n % 2 === 0 ? [] : ["w1.*"], start: starts[n % 4] ?? "now" }, progress);
  const watches = Array.from({ length: 20 }, (_, n) => open(n));

  const manager = await jetstreamManager(connection);
  for (let move = 0; move < 2; move++) {
    await untilWritten(progress, 200n);
    await connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${streamName(bucket.name)}`, "", {
      timeout: 30_000,
    });
    for (let n = 0; n < 4; n++) watches.push(untilAnswered(() => open(n)));
  }
  await untilWritten(progress, 200n);
  const { cluster } = await untilAnswered(() => manager.streams.info(streamName(bucket.name)));
  await servers[Number(cluster?.leader?.slice(1) ?? 0)]?.stop("SIGKILL");
  for (let n = 0; n < 4; n++) watches.push(untilAnswered(() => open(n)));
  await untilWritten(progress, 200n);

  progress.isWriting = false;
  await Promise.all(writers);
  written.sort((left, right) => Number(left.revision - right.revision));
  for (const watched of await Promise.all(watches)) {
    expect(compare(written, watched, HISTORY)).toEqual({ missed: [], doubled: [], reordered: [], wrong: [] });
  }
});

interface Progress {
  readonly last: bigint;
  readonly isWriting: boolean;
  readonly clock: number;
}

async function watchAll(
  bucket: TestBucket,
  some: Pick<WatchOptions, "filters" | "start">,
  progress: Progress,
): Promise<Watched> {
  const options = { ...some, progressIntervalMs: 100 };
  const revisionBefore = progress.last;
  const watcher = await hubs.watch(bucket.name, options, scope());
  const placedAt = progress.clock;
  const events: WatchEvent[] = [];
  // Progress may come between the last change that was stored before and the end of the snapshot.
  let isSnapshotOver = some.start === "now";
  for await (const event of watcher) {
    events.push(event);
    isSnapshotOver ||= event.type === "snapshot_end";
    const isComplete = event.type === "progress" && event.revision >= progress.last;
    if (isComplete && isSnapshotOver && !progress.isWriting) break;
  }
  return { options, events, revisionBefore, placedAt, readUpTo: progress.last };
}

/** The cluster takes a moment to have a leader. */
function createdBucket(): Promise<TestBucket> {
  return untilAnswered(() => TestBucket.create(connection, "moved", { history: HISTORY, replicas: SERVERS }));
}

async function untilWritten(progress: Progress, more: bigint): Promise<void> {
  const reached = progress.last + more;
  await until(`${more} more entries are written`, () => progress.last >= reached);
}

/** Retries until the storage answers, which it does not while a leader is elected. The connection has errors of its own for that. */
async function untilAnswered<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof KvError && error.kind !== "unavailable") throw error;
      await tick(50);
    }
  }
}
