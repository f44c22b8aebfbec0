// Watches through the gRPC door, by the stock adapter (FAST_PATH=false) and by the path of our own: how many events a second are delivered
// to 1, 100 and 1,000 watchers and what that costs the server, how long one event takes to reach 1,000, what an idle watcher holds in
// memory, and what watchers that never read do to the others. Both are measured in turn; the medians of all rounds are printed.
//
//   node bench/watch/doors.mjs             3 rounds, a few minutes
//   node bench/watch/doors.mjs --quick     one round with a tenth of the events, to see that it works
import { connect } from "@nats-io/transport-node";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BucketService, WatchRequestSchema } from "../../dist/packages/client/src/gen.js";
import { grpcFrame } from "../load.mjs";
import { startMeasuredService, startNats, stopAll } from "../processes.mjs";
import { RawWatchers } from "./raw-watchers.mjs";

const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 1 : 3;
const SCALE = isQuick ? 0.1 : 1;
const DELIVERIES = 100_000 * SCALE;
const SINGLES = Math.ceil(100 * SCALE);
const IDLE = 1_000;
const CONNECTIONS = 10;
const WARM_UP = 10;
/** Watchers of another key beside those measured, and the events that they get for each that is measured. */
const BESIDE = 40;
const NOISE = 40;
const NOISE_VALUE = Buffer.alloc(8_000, "x");
/** So many events are published before the slowest watcher has them: well within its queue. */
const AHEAD = 1_000;
const VALUE = Buffer.alloc(128, "x");
const PATHS = { stock: { FAST_PATH: "false" }, ours: { FAST_PATH: "true" } };

const nats = await startNats("relaxed");
const publisher = await connect({ servers: nats.url });
const results = { stock: {}, ours: {} };
let buckets = 0;
let published = 0;

try {
  for (let round = 0; round < ROUNDS; round++) {
    for (const [path, env] of Object.entries(PATHS)) await measure(path, env);
  }
  const rows = Object.keys(results.ours);
  console.table(
    Object.fromEntries(
      rows.map((row) => [row, { stock: median(results.stock[row]), ours: median(results.ours[row]) }]),
    ),
  );
} finally {
  await publisher.close();
  await stopAll();
}
process.exit();

async function measure(path, env) {
  const note = (row, figure) => {
    console.log(`${path}, ${row}: ${Number(figure.toPrecision(3))}`);
    (results[path][row] ??= []).push(figure);
  };
  const service = await startMeasuredService(nats.url, env);
  try {
    await idle(service, note);
    for (const watchers of [1, 100, 1_000]) await throughput(service, watchers, note);
    await latency(service, note);
  } finally {
    await service.stop();
  }
}

/** What each of so many watchers holds while nothing happens. */
async function idle(service, note) {
  const { bucket } = await newBucket(service);
  await close(await open(service, bucket, IDLE));
  const before = await settled(service);
  const groups = await open(service, bucket, IDLE);
  const after = await settled(service);
  const bytes = after.heapUsed + after.external - before.heapUsed - before.external;
  note("memory of an idle watcher, KB", bytes / IDLE / 1_024);
  await close(groups);
}

/** Many events as fast as they are taken. */
async function throughput(service, watchers, note) {
  const { bucket, publish } = await newBucket(service);
  const groups = await open(service, bucket, watchers);
  const count = Math.ceil(DELIVERIES / watchers);
  await deliver(groups, publish, 1, Math.ceil(count / 10));
  const first = 1 + Math.ceil(count / 10);
  const before = await service.usage();
  const startMs = performance.now();
  await deliver(groups, publish, first, count);
  const wallMs = performance.now() - startMs;
  const after = await service.usage();
  const deliveries = count * watchers;
  const label = `${watchers.toLocaleString("en")} watcher${watchers === 1 ? "" : "s"}`;
  note(`${label}: events delivered per second`, deliveries / (wallMs / 1_000));
  // The collection of garbage that asking costs is in both, and small beside the rest.
  note(`${label}: CPU seconds per million events`, ((after.cpuMs - before.cpuMs) / deliveries) * 1_000);
  await close(groups);
}

/** Publishes `count` events; resolves when every watcher has them, behind the `before` that they had. */
async function deliver(groups, publish, before, count) {
  for (let sent = 0; sent < count;) {
    const step = Math.min(count - sent, AHEAD / 2);
    for (let n = 0; n < step; n++) publish();
    sent += step;
    const floor = before + Math.max(0, sent - AHEAD / 2);
    await Promise.all(groups.map((group) => group.have(sent === count ? before + count : floor)));
  }
}

/** One event at a time to 1,000 watchers: among themselves, then beside a few of another key, which read or don't. */
async function latency(service, note) {
  const times = [];
  const measured = async (title, others) => {
    const { bucket, publish } = await newBucket(service);
    let sentMs = 0;
    const groups = await open(service, bucket, 1_000, () => times.push(performance.now() - sentMs));
    const beside =
      others === undefined ? [] : [await RawWatchers.open(service.port, requestOf(bucket, "noise"), BESIDE)];
    await Promise.all(beside.map((group) => group.have(1)));
    if (others === "never read") for (const group of beside) group.pause();
    const before = await settled(service);
    for (let index = 0; index < SINGLES + WARM_UP; index++) {
      if (index === WARM_UP) times.length = 0;
      if (others !== undefined) for (let n = 0; n < NOISE; n++) publish("noise", NOISE_VALUE);
      sentMs = performance.now();
      publish();
      await Promise.all(groups.map((group) => group.have(2 + index)));
    }
    times.sort((left, right) => left - right);
    note(`${title}: p50, ms`, times[Math.floor(times.length * 0.5)]);
    note(`${title}: p99, ms`, times[Math.floor(times.length * 0.99)]);
    if (others === "never read") {
      const after = await settled(service);
      const bytes = after.heapUsed + after.external - before.heapUsed - before.external;
      note(
        `what those ${BESIDE} hold, each sent ${Math.round(((SINGLES + WARM_UP) * NOISE * NOISE_VALUE.length) / 1e6)} MB, MB in all`,
        bytes / 1e6,
      );
    }
    await close([...groups, ...beside]);
  };
  await measured("one event to 1,000 watchers");
  await measured(`the same beside ${BESIDE} that read other events`, "read");
  await measured(`the same beside ${BESIDE} that never read theirs`, "never read");
}

async function newBucket(service) {
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${service.port}` });
  const bucket = `doors-${++buckets}`;
  await createClient(BucketService, transport).createBucket({ name: bucket });
  await watched(service, bucket);
  return {
    bucket,
    // Each to a key of its own: of a key that is written again before it was sent on, only the newest is there to send.
    publish: (group = "key", value = VALUE) =>
      publisher.publish(`$KV.APP_${bucket}.${group}.${++published}`, value),
  };
}

/**
 * Has the service watch the bucket from now on: what starts with the first watch is then no part of what is measured. On a machine that
 * has much else to do the first try may take too long, and is refused.
 */
async function watched(service, bucket, tries = 5) {
  for (let left = tries; ; left--) {
    try {
      const watchers = await RawWatchers.open(service.port, requestOf(bucket, "nothing"), 1);
      return await watchers.have(1);
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

function requestOf(bucket, group) {
  return grpcFrame(
    toBinary(WatchRequestSchema, create(WatchRequestSchema, { bucket, filters: [`${group}.>`] })),
  );
}

/** So many watchers over a few connections, each in place: it had the end of its empty snapshot. */
async function open(service, bucket, count, onEvent) {
  const connections = Math.min(count, CONNECTIONS);
  const options = onEvent === undefined ? {} : { onEvent };
  const groups = [];
  for (let n = 0; n < connections; n++) {
    groups.push(await RawWatchers.open(service.port, requestOf(bucket, "key"), count / connections, options));
  }
  await Promise.all(groups.map((group) => group.have(1)));
  return groups;
}

async function close(groups) {
  for (const group of groups) group.close();
  await pause(200);
}

/** What the service uses once what was going on is over. */
async function settled(service) {
  await pause(1_000);
  return service.usage();
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function median(figures = []) {
  const sorted = [...figures].sort((left, right) => left - right);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return Number(middle?.toPrecision(3));
}
