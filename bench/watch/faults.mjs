// Watches through the service while what is underneath breaks: counts what was missed, doubled or reordered. Every figure should be 0
// but the times.
//
//   node bench/watch/faults.mjs            20 crashes, 500 drops, 20,000 watches
//   node bench/watch/faults.mjs --quick    a tenth of that
import { readdirSync, readFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BucketService, KeyValueService, WatchRequestSchema } from "../../dist/src/contract.js";
import { grpcFrame } from "../load.mjs";
import { startNats, startService, stopAll } from "../processes.mjs";

const isQuick = process.argv.includes("--quick");
const [WATCHERS, WRITERS, CRASHES, DROPS, CHURN] = isQuick
  ? [100, 8, 2, 50, 2_000]
  : [100, 8, 20, 500, 20_000];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const nats = await startNats("safe");
const service = await startService(nats.url, { WATCHES_PER_CONNECTION_MAX: "1000", LOG_LEVEL: "silent" });
const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${service.port}` });
const buckets = createClient(BucketService, transport);
const kv = createClient(KeyValueService, transport);

/** Follows a bucket from revision 1; resumes after its last revision whenever the stream ends or is dropped. */
class Follower {
  last = 0n;
  faults = { missed: 0, doubled: 0, reordered: 0 };
  ends = 0;
  lastEventMs = performance.now();
  #controller = new AbortController();
  #isOver = false;

  async run(bucket) {
    while (!this.#isOver) {
      this.#controller = new AbortController();
      try {
        const request = { bucket, startRevision: this.last + 1n };
        for await (const { event } of kv.watch(request, { signal: this.#controller.signal })) {
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
    else this.faults.missed += Number(revision - this.last) - 1;
    if (revision > this.last) this.last = revision;
  }
}

/** Writers and followers on a bucket of their own while `disturb` runs; then everything that was written must have arrived. */
async function follow(bucket, disturb) {
  await buckets.createBucket({ name: bucket, history: 64 });
  const followers = Array.from({ length: WATCHERS }, () => new Follower());
  for (const follower of followers) void follower.run(bucket);
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
  const deadlineMs = performance.now() + 30_000;
  while (followers.some((follower) => follower.last < newest) && performance.now() < deadlineMs)
    await pause(20);
  for (const follower of followers) follower.stop();
  const sum = (count) => followers.reduce((total, follower) => total + count(follower), 0);
  return {
    acknowledged,
    events: sum((follower) => Number(follower.last)),
    missed: sum((follower) => follower.faults.missed + Number(newest - follower.last)),
    doubled: sum((follower) => follower.faults.doubled),
    reordered: sum((follower) => follower.faults.reordered),
    "streams ended": sum((follower) => follower.ends),
    ...more,
  };
}

/** Crashes NATS at random; measures from the first write acknowledged afterwards to the slowest watcher's first event. */
async function crashes(followers, lastAckMs) {
  let longestSilenceMs = 0;
  for (let n = 0; n < CRASHES; n++) {
    await pause(300 + Math.random() * 900);
    await nats.crash();
    const backMs = performance.now();
    while (lastAckMs() < backMs) await pause(1);
    while (followers.some((follower) => follower.lastEventMs < backMs)) await pause(1);
    longestSilenceMs = Math.max(longestSilenceMs, performance.now() - backMs);
  }
  return { "longest silence after NATS is back, ms": Math.round(longestSilenceMs) };
}

async function drops(followers) {
  for (let n = 0; n < DROPS; n++) {
    followers[Math.floor(Math.random() * followers.length)].drop();
    await pause(Math.random() * 30);
  }
  return {};
}

/** Opens and drops watches: half by resetting the stream, half by cutting the connection, which nobody reads. */
async function churn() {
  const bucket = "churn";
  await buckets.createBucket({ name: bucket });
  for (let n = 0; n < 50; n++) await kv.put({ bucket, key: `k${n}`, value: new Uint8Array(10_000) });
  const frame = grpcFrame(toBinary(WatchRequestSchema, create(WatchRequestSchema, { bucket })));
  const files = () => readdirSync(`/proc/${service.pid}/fd`).length;
  const megabytes = () =>
    Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, "utf8"))[1]) / 1024);
  const before = { files: files(), megabytes: megabytes() };
  const perConnection = 250;
  for (let opened = 0; opened < CHURN; opened += perConnection) {
    const session = connectHttp2(`http://127.0.0.1:${service.port}`);
    session.on("error", () => undefined);
    const streams = Array.from({ length: perConnection }, () => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/ironflow.kv.v1.KeyValueService/Watch",
        "content-type": "application/grpc",
        te: "trailers",
      });
      stream.on("error", () => undefined);
      stream.end(frame);
      return stream;
    });
    await Promise.all(streams.map((stream) => new Promise((resolve) => stream.once("response", resolve))));
    if ((opened / perConnection) % 2 === 0) for (const stream of streams) stream.close(8);
    session.destroy();
  }
  await pause(3_000);
  const connection = await connect({ servers: nats.url });
  const manager = await jetstreamManager(connection);
  let consumers = 0;
  for await (const _ of manager.consumers.list(`KV_APP_${bucket}`)) consumers++;
  await connection.close();
  return {
    opened: CHURN,
    "consumers left": consumers,
    "files and sockets left": files() - before.files,
    "memory before and after, MB": `${before.megabytes}, ${megabytes()}`,
  };
}

try {
  const table = {};
  table[`${WATCHERS} watchers, ${WRITERS} writers, NATS killed ${CRASHES} times`] = await follow(
    "crashes",
    crashes,
  );
  table[`the same, ${DROPS} drops and resumes`] = await follow("drops", drops);
  for (const [title, figures] of Object.entries(table)) console.log(title, figures);
  console.log(`${CHURN} watches opened and dropped`, await churn());
} finally {
  await stopAll();
}
process.exit();
