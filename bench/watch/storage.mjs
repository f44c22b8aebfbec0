// Watches without the doors: many watchers on one bucket in one process, beside one NATS consumer per watcher (the client library's way).
//
//   node --expose-gc bench/watch/storage.mjs            10,000 watchers; 1,000 for both sides of the comparison
//   node --expose-gc bench/watch/storage.mjs --quick    a tenth of that, to see that it works
import { Kvm } from "@nats-io/kv";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { DEFAULT_LIMITS } from "../../dist/src/kv/limits.js";
import { Link } from "../../dist/src/nats/client/link.js";
import { Feeds } from "../../dist/src/nats/feed/feeds.js";
import { WatchHubs } from "../../dist/src/nats/watch/hubs.js";
import { startNats, stopAll } from "../processes.mjs";

const isQuick = process.argv.includes("--quick");
const MANY = isQuick ? 1_000 : 10_000;
const FEW = isQuick ? 100 : 1_000;
const EVENTS = isQuick ? 50 : 300;
const OPENED_AT_ONCE = 256;
const VALUE = new Uint8Array(128).fill(120);

const { url } = await startNats("relaxed");
const writer = await connect({ servers: url });
const publisher = jetstream(writer);
const manager = await jetstreamManager(writer);
const quiet = { info: () => undefined, debug: () => undefined, warn: () => undefined };
let buckets = 0;

try {
  const rows = [];
  rows.push(await measure(`hub, ${MANY} watchers`, MANY, ourWatches()));
  rows.push(await measure(`hub, ${MANY} watchers, one never reads`, MANY, ourWatches({ idle: 1 })));
  rows.push(await measure(`hub, ${MANY} watchers of a snapshot`, MANY, ourWatches({ start: "snapshot" })));
  rows.push(await measure(`hub, ${FEW} watchers`, FEW, ourWatches()));
  rows.push(await measure(`hub, ${FEW} watchers, history 64`, FEW, ourWatches(), 64));
  // A consumer passes over what is superseded before its turn: with a history of 1, most of a busy key's changes.
  rows.push(await measure(`a consumer each, ${FEW} watchers, history 64`, FEW, libraryWatches(), 64));
  console.table(Object.fromEntries(rows));
} finally {
  await writer.close();
  await stopAll();
}

/** Watches through the hub. `idle`: how many more there are that are never read. */
function ourWatches({ start = "now", idle = 0 } = {}) {
  let connection;
  let feeds;
  let hubs;
  return {
    async open(bucket, onEvent) {
      if (hubs === undefined) {
        connection = await connect({ servers: url });
        const link = new Link(connection, { unreadBytesMax: DEFAULT_LIMITS.natsUnreadBytesMax, log: quiet });
        const shared = { isClustered: false, limits: DEFAULT_LIMITS };
        feeds = new Feeds({ ...shared, link, bulk: link, log: quiet, configure });
        hubs = new WatchHubs({ ...shared, link, feeds });
        for (let n = 0; n < idle; n++) await hubs.watch(bucket, { filters: [], start }, scope());
      }
      const watcher = await hubs.watch(bucket, { filters: [], start }, scope());
      void follow(watcher, (event) => event.type === "change" && event.entry.key === "event" && onEvent());
    },
    async close() {
      await hubs.close();
      await feeds.close();
      await connection.close();
    },
  };
}

/** Adds the `republish` that feeds follow to the stream of a bucket. */
async function configure({ stream }, edit) {
  const ask = async (operation, body) => {
    const answer = (await writer.request(`$JS.API.${operation}.${stream}`, JSON.stringify(body))).json();
    if (answer.error !== undefined) throw new Error(answer.error.description);
    return answer;
  };
  return ask("STREAM.UPDATE", edit(await ask("STREAM.INFO", {})));
}

/** Watches through @nats-io/kv. */
function libraryWatches() {
  let connection;
  let kvs;
  return {
    async open(bucket, onEvent) {
      connection ??= await connect({ servers: url });
      kvs ??= await new Kvm(connection).open(`APP_${bucket}`);
      const watcher = await kvs.watch({ include: "updates" });
      void follow(watcher, (entry) => entry.key === "event" && onEvent());
    },
    close: () => connection.close(),
  };
}

async function measure(name, count, watches, history = 1) {
  const bucket = `bench${++buckets}`;
  await new Kvm(writer).create(`APP_${bucket}`, { history });
  for (let n = 0; n < 20; n++) await publisher.publish(`$KV.APP_${bucket}.k${n}`, VALUE);

  let delivered = 0;
  let expected = Number.POSITIVE_INFINITY;
  let reached = () => undefined;
  const onEvent = () => {
    if (++delivered === expected) reached();
  };
  const untilDelivered = (total) =>
    new Promise((resolve) => {
      expected = total;
      reached = resolve;
      if (delivered >= total) resolve();
    });

  const before = memoryBytes();
  const openStartMs = performance.now();
  let opened = 0;
  const openSome = async () => {
    while (opened++ < count) await watches.open(bucket, onEvent);
  };
  await watches.open(bucket, onEvent);
  opened = 1;
  await Promise.all(Array.from({ length: OPENED_AT_ONCE }, openSome));
  // Snapshots are read after the watch is open: one event that reaches all says that they are done.
  await publisher.publish(`$KV.APP_${bucket}.event`, VALUE);
  await untilDelivered(count);
  const readyMs = performance.now() - openStartMs;
  const { consumer_count: consumers } = (await manager.streams.info(`KV_APP_${bucket}`)).state;
  const bytesEach = (memoryBytes() - before) / count;

  const timesMs = [];
  for (let n = 0; n < EVENTS; n++) {
    const done = untilDelivered(delivered + count);
    const startMs = performance.now();
    void publisher.publish(`$KV.APP_${bucket}.event`, VALUE);
    await done;
    timesMs.push(performance.now() - startMs);
  }
  timesMs.sort((left, right) => left - right);

  const done = untilDelivered(delivered + count * EVENTS);
  const startMs = performance.now();
  for (let n = 0; n < EVENTS; n += 10) {
    await Promise.all(Array.from({ length: 10 }, () => publisher.publish(`$KV.APP_${bucket}.event`, VALUE)));
  }
  await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 20_000))]);
  const burstMs = performance.now() - startMs;
  const perSecond = ((delivered - EVENTS * count) / burstMs) * 1_000;
  await watches.close();
  const left = (await manager.streams.info(`KV_APP_${bucket}`)).state.consumer_count;
  await manager.streams.delete(`KV_APP_${bucket}`);
  const at = (share) => timesMs[Math.floor(timesMs.length * share)].toFixed(1);
  return [
    name,
    {
      "ready/s": Math.round((count / readyMs) * 1_000),
      consumers,
      "bytes/watcher": Math.round(bytesEach),
      "one to all p50 ms": at(0.5),
      "p99 ms": at(0.99),
      "events/s": Math.round(perSecond),
      "consumers left": left,
    },
  ];
}

async function follow(iterable, onItem) {
  try {
    for await (const item of iterable) onItem(item);
  } catch {
    // The watch ended: the benchmark is over.
  }
}

function scope() {
  return { deadlineMs: performance.now() + 60_000, signal: new AbortController().signal };
}

function memoryBytes() {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
