/** What a feed does where changes that it has not shown are superseded, and what snapshots say of it. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import { NO_HEADERS } from "../../src/nats/client/messages.js";
import { Requests } from "../../src/nats/client/requests.js";
import type { LostRevisions } from "../../src/nats/feed/bucket-feed.js";
import { IdleWindows } from "../../src/nats/feed/idle-windows.js";
import { LiveFeed } from "../../src/nats/feed/live-feed.js";
import { SequenceWaiters } from "../../src/nats/feed/sequence-waiters.js";
import { FeedPosition } from "../../src/nats/feed/feed-position.js";
import { Feeds } from "../../src/nats/feed/feeds.js";
import { showMissing } from "../../src/nats/feed/missing.js";
import { RecentChanges } from "../../src/nats/feed/recent-changes.js";
import { Semaphore } from "../../src/nats/feed/semaphore.js";
import { Change } from "../../src/nats/read/delivery.js";
import { StreamApi } from "../../src/nats/read/stream-api.js";
import { WatchHubs } from "../../src/nats/watch/hubs.js";
import { until } from "../support/until.js";
import { connect } from "../support/nats-connection.js";
import { holdRequests } from "./held-requests.js";
import { linkOf } from "./store-support.js";
import { watchTest } from "./watch-test.js";
import { configureBy, read, scope } from "./watching.js";

const it = watchTest();
const NO_LOG = { info: () => undefined, debug: () => undefined };

function changeOf(revision: number, storedKey: string): Change {
  const delivery = {
    ...{ streamSequence: revision, consumerSequence: 0, pending: 0 },
    ...{ timeMs: Date.now(), timeNanos: 0 },
  };
  return new Change({ headers: NO_HEADERS, data: Buffer.from(`of ${revision}`) }, storedKey, delivery);
}

it("a snapshot ends after the change that replaced a value which nobody could show", async ({
  server,
  connection,
  link,
  bucketOf,
}) => {
  const bucket = await bucketOf({ history: 1 });
  await bucket.put("other", "1");
  const feedConnection = await connect({
    servers: link.url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  const reads = await connect({ servers: server.url });
  const [feedLink, readsLink] = [linkOf(feedConnection), linkOf(reads)];
  const common = { isClustered: false, limits: DEFAULT_LIMITS };
  const feeds = new Feeds({
    ...{ ...common, link: feedLink, bulk: readsLink, log: NO_LOG },
    configure: configureBy(connection),
  });
  const hubs = new WatchHubs({ ...common, link: readsLink, feeds });
  try {
    const options = { filters: [] };
    // The feed has begun.
    await hubs.watch(bucket.name, { ...options, start: "now" }, scope());
    const lost = link.loseAnswersTo("lose");
    feedConnection.publish("lose");
    await lost;

    const snapshot = holdRequests(reads, "DIRECT.GET");
    const watcher = await hubs.watch(bucket.name, { ...options, start: "snapshot" }, scope());
    await snapshot.seen(1);
    await bucket.put("k", "1");
    snapshot.release();
    // The snapshot as of revision 1 lacks the key: its end must be a later one. The feed has lost the change.
    const range = holdRequests(reads, "CONSUMER.CREATE");
    link.heal();
    link.cut();
    await range.seen(1);
    // It reads what the stream has up to revision 2: nothing, as history 1 keeps the third.
    await bucket.put("k", "2");
    range.release();
    expect(await read(watcher, 3)).toEqual([
      "put other=1 @1",
      "put k=2 @3 after 1 superseded",
      "snapshot_end @3",
    ]);
  } finally {
    await hubs.close();
    await feeds.close();
    await feedConnection.close();
    await reads.close();
  }
});

it("shows what has arrived although the stream does not hold it any more", async ({
  connection,
  bucketOf,
}) => {
  const bucket = await bucketOf({ history: 1 });
  for (const key of ["k", "other", "k", "k", "gone", "gone"]) await bucket.put(key, "v");
  const requests = new Requests(linkOf(connection));
  const api = new StreamApi(requests, bucket.name, streamName(bucket.name), 1_048_576);
  const shown: (number | LostRevisions)[] = [];
  const at = new FeedPosition({
    ...{ bucket: bucket.name, subjectPrefix: subjectPrefix(bucket.name), patienceMs: 1_000 },
    recentBytesMax: () => 1_048_576,
    ...{ onFault: () => undefined, onIdle: () => undefined, onOverdue: () => undefined },
  });
  at.followers.add(
    {
      change: ({ revision }) => shown.push(revision),
      lost: (lost) => shown.push(lost),
      ended: () => undefined,
    },
    {
      ...{ position: 0, at, recent: at.recent, origin: await api.state() },
      ...{
        waitFor: () => Promise.resolve(),
        check: () => Promise.resolve(),
        recall: () => Promise.resolve(),
      },
      stats: () => ({ lagEvents: 0, silenceMs: 0, restarts: 0, recentBytes: 0 }),
    },
  );
  const reading = {
    ...{ api, subjectPrefix: subjectPrefix(bucket.name), isClustered: false },
    readerPermits: new Semaphore(1),
  };
  const arrived = [changeOf(3, "k"), changeOf(1, "k")];
  await showMissing(
    reading,
    at,
    6,
    () => true,
    (sequence) => arrived.filter(({ revision }) => revision <= sequence),
  );
  expect(shown).toEqual([1, 2, 3, 4, { from: 5, through: 5, isSuperseded: true }, 6]);
  requests.close();
});

it("a check that is overtaken by a change is no reason to read the stream again", async ({
  connection,
  bucketOf,
}) => {
  const bucket = await bucketOf({ history: 1 });
  const link = linkOf(connection);
  const requests = new Requests(link);
  let [isHeld, answered, isReleased] = [false, false, false];
  /** Its answers arrive later, while they are held. */
  class SlowApi extends StreamApi {
    override async state(): ReturnType<StreamApi["state"]> {
      const state = await super.state();
      if (!isHeld) return state;
      answered = true;
      await until("the test goes on", () => isReleased);
      return state;
    }
  }
  const feed = new LiveFeed({
    api: new SlowApi(requests, bucket.name, streamName(bucket.name), 1_048_576),
    ...{ link, subjectPrefix: subjectPrefix(bucket.name), idleWindows: new IdleWindows(link.unread) },
    ...{ configure: configureBy(connection), log: NO_LOG, isClustered: false },
    ...{ readerPermits: new Semaphore(1), recentBytesMax: () => 1_048_576 },
    ...{ onIdle: () => undefined, onOver: () => undefined },
  });
  await feed.start();
  isHeld = true;
  const check = feed.check();
  await until("the leader has answered", () => answered);
  await bucket.put("k", "1");
  await until("the change has overtaken the answer", () => feed.position === 1);
  isReleased = true;
  await check;
  expect(feed.stats().restarts).toBe(0);
  await feed.finish({ kind: "closed" });
  requests.close();
});

it("the time in which the event loop stands still does not count as waiting for a message", async () => {
  let overdue = 0;
  const waiters = new SequenceWaiters("b", 50, () => overdue++);
  const waiting = waiters.wait(1, scope());
  const untilMs = performance.now() + 200;
  while (performance.now() < untilMs);
  // The timers run in between.
  await nextTurn();
  await nextTurn();
  expect(overdue).toBe(0);
  waiters.passed(1);
  await waiting;
});

it("does not take a change for the one before where others between them are unknown", () => {
  const recent = new RecentChanges(() => 1_048_576);
  recent.reset(4);
  recent.prepend(3, [changeOf(3, "k"), { from: 4, through: 4, isSuperseded: true }]);
  const next = changeOf(5, "k");
  recent.add(next);
  expect(next.replaces).toBeUndefined();
});
