// Watches through the service while what is underneath breaks: counts what was missed, doubled or reordered, and what is left over. Every
// figure should be 0 but the times, the counts of what was done, what was said to be superseded, and the memory, which should be about the same
// before and after.
//
//   node bench/watch/faults.mjs            20 crashes, 500 drops, 20,000 watches; some minutes, at most 20
//   node bench/watch/faults.mjs --quick    a tenth of that
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BucketService, KeyValueService, WatchRequestSchema } from "../../dist/packages/client/src/gen.js";
import { grpcFrame } from "../load.mjs";
import { startMeasuredService, startNats, stopAll } from "../processes.mjs";
import { RawWatchers } from "./raw-watchers.mjs";

const isQuick = process.argv.includes("--quick");
const [WATCHERS, WRITERS, CRASHES, DROPS, CHURN] = isQuick
  ? [100, 8, 2, 50, 2_000]
  : [100, 8, 20, 500, 20_000];
/** What takes longer than this for any one step is given up, and said. */
const STEP_MS = 60_000;
const WHOLE_MS = 20 * 60_000;
const CHURN_PER_CONNECTION = 250;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const tooLong = setTimeout(() => giveUp(new Error("it takes too long")), WHOLE_MS);
const nats = await startNats("safe");
const service = await startMeasuredService(nats.url, { LOG_LEVEL: "silent" });
const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${service.port}` });
const buckets = createClient(BucketService, transport);
const kv = createClient(KeyValueService, transport);

/** Resolves as soon as it is true; false when that takes too long. */
async function until(isTrue, stepMs = 5) {
  const deadlineMs = performance.now() + STEP_MS;
  while (!(await isTrue())) {
    if (performance.now() > deadlineMs) return false;
    await pause(stepMs);
  }
  return true;
}

/** Follows a bucket from revision 1; resumes after its last revision whenever the stream ends or is dropped. */
class Follower {
  last = 0n;
  faults = { missed: 0, doubled: 0, reordered: 0 };
  /** Revisions that the service said were superseded before it could read them: those before the next change, and all. */
  superseded = { next: 0, all: 0 };
  ends = 0;
  lastEventMs = performance.now();
  #controller = new AbortController();
  #isOver = false;

  async run(bucket) {
    while (!this.#isOver) {
      this.#controller = new AbortController();
      try {
        const request = { bucket, startRevision: this.last + 1n };
        this.superseded.next = 0;
        for await (const { event, superseded } of kv.watch(request, { signal: this.#controller.signal })) {
          this.superseded.next += Number(superseded);
          this.superseded.all += Number(superseded);
          if (event.case === "change") this.#take(event.value.entry.revision);
        }
      } catch {
        this.ends++;
        await pause(20);
      }
    }
  }

  drop() {
    this.#controller.abort();
  }

  stop() {
    this.#isOver = true;
    this.#controller.abort();
  }

  #take(revision) {
    this.lastEventMs = performance.now();
    if (revision === this.last) this.faults.doubled++;
    else if (revision < this.last) this.faults.reordered++;
    else this.faults.missed += Math.abs(Number(revision - this.last) - 1 - this.superseded.next);
    this.superseded.next = 0;
    if (revision > this.last) this.last = revision;
  }
}

/** Writers and followers on a bucket of their own while `disturb` runs; then everything that was written must have arrived. */
async function follow(bucket, history, disturb) {
  await buckets.createBucket({ name: bucket, history });
  const followers = Array.from({ length: WATCHERS }, () => new Follower());
  const following = followers.map((follower) => follower.run(bucket));
  let isWriting = true;
  let acknowledged = 0;
  let lastAckMs = performance.now();
  const writing = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let n = 0; isWriting; n++) {
      await kv.put({ bucket, key: `writer.${writer}.${n % 500}`, value: new Uint8Array(64) }).then(
        () => {
          acknowledged++;
          lastAckMs = performance.now();
        },
        () => pause(5),
      );
      await pause(5);
    }
  });
  const more = await disturb(followers, () => lastAckMs);
  isWriting = false;
  await Promise.all(writing);
  const newest = (await buckets.getBucket({ bucket })).bucket.revision;
  await until(() => followers.every((follower) => follower.last >= newest));
  for (const follower of followers) follower.stop();
  await Promise.all(following);
  const sum = (count) => followers.reduce((total, follower) => total + count(follower), 0);
  return {
    acknowledged,
    events: sum((follower) => Number(follower.last)),
    "missed, or counted wrongly": sum((follower) => follower.faults.missed + Number(newest - follower.last)),
    "said to be superseded": sum((follower) => follower.superseded.all),
    doubled: sum((follower) => follower.faults.doubled),
    reordered: sum((follower) => follower.faults.reordered),
    "streams ended": sum((follower) => follower.ends),
    ...more,
  };
}

/** Crashes NATS at random; measures until the slowest watcher has an event again, which takes that something was written. */
async function crashes(followers, lastAckMs) {
  let longest = { ackMs: 0, silenceMs: 0 };
  let stuck = 0;
  for (let n = 0; n < CRASHES; n++) {
    await pause(300 + Math.random() * 900);
    await nats.crash();
    const backMs = performance.now();
    const isWritable = await until(() => lastAckMs() >= backMs, 1);
    const ackMs = performance.now() - backMs;
    const isWell =
      isWritable && (await until(() => followers.every((follower) => follower.lastEventMs >= backMs), 1));
    if (!isWell) stuck++;
    const silenceMs = performance.now() - backMs;
    if (silenceMs > longest.silenceMs) longest = { ackMs, silenceMs };
  }
  return {
    [`crashes after which not all went on within ${STEP_MS / 1_000} s`]: stuck,
    "longest silence after NATS is back, ms": Math.round(longest.silenceMs),
    "of it until a write was acknowledged, ms": Math.round(longest.ackMs),
  };
}

async function drops(followers) {
  for (let n = 0; n < DROPS; n++) {
    followers[Math.floor(Math.random() * followers.length)].drop();
    await pause(Math.random() * 30);
  }
  return {};
}

/** How clients go, in turn. Each is sent a snapshot of half a megabyte. */
const LEAVES = {
  async "reset while HTTP/2 holds it back"(open) {
    const watchers = await open({ window: 0 });
    watchers.reset();
    await watchers.ping();
    watchers.close();
  },
  async "cut while HTTP/2 holds it back"(open) {
    (await open({ window: 0 })).close();
  },
  async "cut while its connection is full"(open) {
    const watchers = await open({});
    watchers.pause();
    // The server fills what the kernels have room for.
    await pause(50);
    watchers.close();
  },
  async "cut in the middle of reading"(open) {
    const watchers = await open({});
    await watchers.ping();
    watchers.close();
  },
};

/** Opens and drops watches in every way; then nothing may be left. */
async function churn() {
  const bucket = "churn";
  await buckets.createBucket({ name: bucket });
  for (let n = 0; n < 50; n++) await kv.put({ bucket, key: `k${n}`, value: new Uint8Array(10_000) });
  const request = grpcFrame(toBinary(WatchRequestSchema, create(WatchRequestSchema, { bucket })));
  const open = async (options) => {
    const watchers = await RawWatchers.open(service.port, request, CHURN_PER_CONNECTION, options);
    await watchers.placed();
    return watchers;
  };
  const ways = Object.values(LEAVES);
  // The first of all make room in memory that is kept.
  for (const leave of ways) await leave(open);
  const before = await settled(bucket);
  for (let opened = 0, n = 0; opened < CHURN; opened += CHURN_PER_CONNECTION, n++) {
    await ways[n % ways.length](open);
  }
  const after = await settled(bucket);
  const megabytes = ({ heapUsed, external }) => Number(((heapUsed + external) / 1e6).toFixed(1));
  return {
    opened: CHURN,
    "watches left": after.watches,
    "consumers left on the NATS server": after.consumers,
    "sockets left": after.sockets - before.sockets,
    "timers left": after.timers - before.timers,
    "memory before, MB": megabytes(before),
    "memory after, MB": megabytes(after),
  };
}

/** What there is once nothing changes any more: a hub goes a moment after its last watcher. */
async function settled(bucket) {
  const connection = await connect({ servers: nats.url });
  const manager = await jetstreamManager(connection);
  const counts = async () => {
    let consumers = 0;
    for await (const _ of manager.consumers.list(`KV_APP_${bucket}`)) consumers++;
    return { watches: await openWatches(), consumers };
  };
  await until(async () => {
    const { watches, consumers } = await counts();
    return watches + consumers === 0;
  }, 100);
  await pause(1_000);
  const found = { ...(await counts()), ...(await service.usage()) };
  await connection.close();
  return found;
}

async function openWatches() {
  // Not kept, so that it is not among the sockets that are counted.
  const headers = { connection: "close" };
  const text = await (await fetch(`http://127.0.0.1:${service.port}/metrics`, { headers })).text();
  return Number(/^ironflow_watches (\d+)$/m.exec(text)?.[1]);
}

async function giveUp(error) {
  console.error(error);
  await stopAll();
  process.exit(1);
}

const table = {};
try {
  for (const history of [1, 64]) {
    const about = `${WATCHERS} watchers, ${WRITERS} writers, history ${history}`;
    table[`${about}, NATS killed ${CRASHES} times`] = await follow(`crashes-${history}`, history, crashes);
    table[`${about}, ${DROPS} drops and resumes`] = await follow(`drops-${history}`, history, drops);
  }
  table[`${CHURN} watches opened and dropped`] = await churn();
} catch (error) {
  await giveUp(error);
} finally {
  for (const [title, figures] of Object.entries(table)) {
    console.log(title);
    console.table(figures);
  }
}
clearTimeout(tooLong);
await stopAll();
process.exit();
