// A hot key in a bucket with a history of 1, watched by 1,000 over gRPC, beside etcd in the same run: how many events a second all of them
// get, whether any is missing, and how long one event takes to reach all. Both sync each write; the writes come over gRPC.
//
//   node bench/watch/etcd.mjs             3 rounds, interleaved
//   node bench/watch/etcd.mjs --quick     one round with a tenth of the events, to see that it works
import { connect } from "node:http2";
import { loadavg } from "node:os";
import { startEtcd, startService, stopAll } from "../processes.mjs";
import { etcdProgram } from "../rivals.mjs";
import { field, grpcFrame, unary } from "../scale/etcd.mjs";
import { RawWatchers } from "./raw-watchers.mjs";

const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 1 : 3;
const WATCHERS = 1_000;
const CONNECTIONS = 10;
const WRITERS = 128;
const EVENTS = isQuick ? 100 : 1_000;
const SINGLES = isQuick ? 20 : 100;
const KEY = "hot";
/** Fields of etcd's WatchResponse. */
const [CREATED, EVENTS_FIELD] = [3, 11];
const VALUE = Buffer.alloc(128, "x");

const program = etcdProgram();
if (program === undefined) {
  console.log("No rows of etcd: neither etcd nor Go is there.");
  process.exit();
}
const service = await startService(undefined, {});
await fetch(`http://127.0.0.1:${service.port}/api/v1/kv/buckets`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ name: "watched" }),
});
const etcd = await startEtcd(program);
/** `placed`: what a watch has received when it is in place. Ours: the value, and the end of the snapshot. etcd: that it was created. */
const SIDES = {
  ours: {
    port: service.port,
    watchPath: "/ironflow.kv.v1.KeyValueService/Watch",
    watch: grpcFrame(Buffer.concat([field(1, "watched"), field(2, KEY)])),
    putPath: "/ironflow.kv.v1.KeyValueService/Put",
    put: Buffer.concat([field(1, "watched"), field(2, KEY), field(3, VALUE)]),
    placed: 2,
  },
  etcd: {
    port: etcd.port,
    watchPath: "/etcdserverpb.Watch/Watch",
    watch: grpcFrame(field(1, field(1, KEY))),
    putPath: "/etcdserverpb.KV/Put",
    put: Buffer.concat([field(1, KEY), field(2, VALUE)]),
    placed: 1,
    keepsOpen: true,
    countOf: eventsOfEtcd,
  },
};
const results = {};

try {
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, side] of Object.entries(SIDES)) await measure(name, side);
  for (const [row, figures] of Object.entries(results)) {
    const [ours, theirs] = [median(figures.ours), median(figures.etcd)];
    const ratio = (ours / theirs).toFixed(2);
    console.log(`${row}: ours ${ours.toPrecision(4)}, etcd ${theirs.toPrecision(4)}, ratio ${ratio}`);
  }
  console.log(`load ${loadavg()[0].toFixed(1)}`);
} finally {
  await stopAll();
}
process.exit();

async function measure(name, side) {
  const note = (row, figure) => {
    console.log(`${name}, ${row}: ${Number(figure.toPrecision(4))}   (load ${loadavg()[0].toFixed(1)})`);
    ((results[row] ??= {})[name] ??= []).push(figure);
  };
  const session = connect(`http://127.0.0.1:${side.port}`);
  await unary(session, side.putPath, side.put);
  let [onEvent, reached] = [() => undefined, 0];
  const groups = [];
  for (let n = 0; n < CONNECTIONS; n++)
    groups.push(
      await RawWatchers.open(side.port, side.watch, WATCHERS / CONNECTIONS, {
        path: side.watchPath,
        keepsOpen: side.keepsOpen,
        countOf: side.countOf,
        onEvent: () => onEvent(),
      }),
    );
  let have = side.placed;
  await Promise.all(groups.map((group) => group.have(have)));

  const startMs = performance.now();
  let left = EVENTS;
  const write = async () => {
    while (left-- > 0) await unary(session, side.putPath, side.put);
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  const writtenMs = performance.now();
  await Promise.race([Promise.all(groups.map((group) => group.have(have + EVENTS))), pause(30_000)]);
  const counts = groups.flatMap(({ events }) => events);
  const delivered = counts.reduce((sum, count) => sum + count - have, 0);
  note("events a second to 1,000 watchers", delivered / ((performance.now() - startMs) / 1_000));
  note("events delivered, %", (100 * delivered) / (EVENTS * WATCHERS));
  note("writes a second meanwhile", EVENTS / ((writtenMs - startMs) / 1_000));
  have += EVENTS;

  const times = [];
  let sentMs = 0;
  onEvent = () => {
    if (++reached === WATCHERS) times.push(performance.now() - sentMs);
  };
  for (let n = 0; n < SINGLES; n++) {
    reached = 0;
    sentMs = performance.now();
    have++;
    await Promise.all([unary(session, side.putPath, side.put), ...groups.map((group) => group.have(have))]);
  }
  times.sort((one, other) => one - other);
  note("one event to all 1,000, p50 ms", times[times.length >> 1]);
  note("one event to all 1,000, p99 ms", times[Math.floor(times.length * 0.99)]);
  for (const group of groups) group.close();
  session.close();
  await pause(300);
}

/** The events of a WatchResponse (etcd's rpc.proto): it may bring several. The one that says that the watch was created counts as one. */
function eventsOfEtcd(message) {
  let [events, at] = [0, 0];
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const [number, wireType] = [tag >> 3, tag & 7];
    if (number === CREATED || number === EVENTS_FIELD) events++;
    const value = varint();
    if (wireType === 2) at += value;
  }
  return events;
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function median(figures) {
  return figures.toSorted((left, right) => left - right)[figures.length >> 1];
}
