// `npm run bench:fairness`: what heavy reads of some buckets cost the calls of another one.
//
//   npm run bench:fairness -- --rounds 5 --seconds 10    more patience
//   npm run bench:fairness -- --quick                    smaller buckets, to see that it works
//
// 16 clients put and get keys of a bucket of their own, alone and beside each heavy load in turn, in one run. Prints p50 and p99 in
// milliseconds, p99 as a multiple of that alone in the same round, and the longest time that the service's event loop stood still. A part
// ends when its load is over, or after the seconds.
import { once, setMaxListeners } from "node:events";
import { Agent, request } from "node:http";
import { loadavg } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { connect } from "@nats-io/transport-node";
import { startMeasuredService, startNats, stopAll } from "./processes.mjs";

const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const isQuick = process.argv.includes("--quick");
const ROUNDS = option("rounds", isQuick ? 1 : 3);
const DURATION_MS = option("seconds", isQuick ? 2 : 5) * 1_000;
const CLIENTS = 16;
const WIDE_KEYS = isQuick ? 20_000 : 200_000;
const SNAPSHOT_KEYS = 40;
const HISTORY = 64;
const MEBIBYTE = 1_048_576;

const nats = isMainThread ? await startNats("relaxed") : undefined;
const service = isMainThread ? await startMeasuredService(nats.url) : undefined;
const port = isMainThread ? service.port : workerData.port;
const agent = new Agent({ keepAlive: true, maxSockets: Infinity });

/** Sends a request; resolves with the body. */
function call(method, path, body, signal) {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": typeof body === "string" ? "application/json" : "application/octet-stream",
    };
    const options = { port, host: "127.0.0.1", method, path, headers, agent, signal };
    const sent = request(options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(parts);
        if (response.statusCode < 300) resolve(text);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text.toString().slice(0, 200)}`));
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const rpc = (name, message, signal) =>
  call("POST", `/ironflow.kv.v1.${name}`, JSON.stringify(message), signal);

/** Reads a watch until its snapshot is over. */
function snapshot(signal) {
  return new Promise((resolve, reject) => {
    const path = "/api/v1/kv/buckets/snapshot/watch?start=snapshot&snapshot_end=true";
    const options = {
      port,
      host: "127.0.0.1",
      path,
      headers: { accept: "text/event-stream" },
      signal,
    };
    const sent = request(options, (response) => {
      let tail = "";
      response.on("error", reject);
      response.on("data", (part) => {
        tail = (tail + part.toString("latin1")).slice(-4_096);
        if (!tail.includes("snapshot_end")) return;
        sent.destroy();
        resolve();
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}

async function fill() {
  const connection = await connect({ servers: nats.url });
  const stored = async (bucket, count) => {
    for (;;) {
      const answer = await connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`, "", {
        timeout: 20_000,
      });
      if (answer.json().state.last_seq >= count) return;
    }
  };
  const write = async (bucket, history, count, key, value) => {
    await call("POST", "/api/v1/kv/buckets", JSON.stringify({ name: bucket, history }));
    const atOnce = Math.max(1, Math.floor((16 * MEBIBYTE) / (value.length + 100)));
    for (let index = 0; index < count; index++) {
      connection.publish(`$KV.APP_${bucket}.${key(index)}`, value);
      if (index % atOnce === atOnce - 1) await stored(bucket, index + 1);
    }
    await stored(bucket, count);
  };
  const large = Buffer.alloc(MEBIBYTE - 1_024, "x");
  await write("quiet", 1, CLIENTS, (index) => `w${index}`, "v");
  await write("wide", 1, WIDE_KEYS, (index) => `some.longer.key.${index}`, "v");
  await write("snapshot", 1, SNAPSHOT_KEYS, (index) => `k${index}`, large);
  await write("deep", HISTORY, HISTORY, () => "k", large);
  await connection.close();
}

async function wholeHistory(signal) {
  let pageToken;
  do {
    const page = await rpc(
      "KeyValueService/GetHistory",
      { bucket: "deep", key: "k", limit: 2, pageToken },
      signal,
    );
    pageToken = JSON.parse(page.toString()).nextPageToken;
  } while (pageToken);
}

async function wholeList(signal) {
  let pageToken;
  do {
    const page = await rpc("KeyValueService/ListKeys", { bucket: "wide", pageToken }, signal);
    pageToken = JSON.parse(page.toString()).nextPageToken;
  } while (pageToken);
}

/** Writes to the bucket, so that no count of it is remembered. */
const change = (signal) => call("PUT", "/api/v1/kv/buckets/wide/keys/changing", Buffer.from("v"), signal);

const many = (count, run) => (signal) => Promise.all(Array.from({ length: count }, () => run(signal)));
const counts = many(24, (signal) => rpc("BucketService/GetBucket", { bucket: "wide" }, signal));
const loads = {
  alone: undefined,
  "4 lists": many(4, wholeList),
  "24 counts": counts,
  "24 counts, changing": (signal) => change(signal).then(() => counts(signal)),
  "16 snapshots": many(16, snapshot),
  "2 histories": many(2, wholeHistory),
  "all of these": (signal) =>
    Promise.all(
      [many(4, wholeList), counts, many(16, snapshot), many(2, wholeHistory)].map((load) => load(signal)),
    ),
};

const percentile = (times, share) =>
  times.sort((left, right) => left - right)[Math.floor(times.length * share)];
const median = (values) => percentile([...values], 0.5);

/** Runs a load over and over, in a thread of its own, until the main one says that it is enough. */
async function runLoad(load) {
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  parentPort.once("message", () => end.abort());
  let [runs, failure] = [0, undefined];
  while (!end.signal.aborted && failure === undefined) {
    await load(end.signal).then(
      () => runs++,
      (error) => (failure = end.signal.aborted ? undefined : error),
    );
  }
  if (!end.signal.aborted) await once(end.signal, "abort");
  parentPort.postMessage({ runs, failure });
}

/** Runs the clients beside a load. */
async function part(name) {
  await service.eventLoop();
  const untilMs = performance.now() + DURATION_MS;
  const times = { put: [], get: [] };
  const client = async (index) => {
    for (let count = 0; performance.now() < untilMs; count++) {
      for (const [operation, method, body] of [
        ["put", "PUT", Buffer.from(String(count))],
        ["get", "GET", undefined],
      ]) {
        const startMs = performance.now();
        await call(method, `/api/v1/kv/buckets/quiet/keys/w${index}`, body);
        times[operation].push(performance.now() - startMs);
      }
    }
  };
  const loader =
    name === "alone" ? undefined : new Worker(new URL(import.meta.url), { workerData: { port, name } });
  await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)));
  const over = loader === undefined ? [{ runs: 0 }] : once(loader, "message");
  loader?.postMessage("end");
  const [{ runs, failure }] = await over;
  await loader?.terminate();
  if (failure !== undefined) throw failure;
  const { maxMs } = await service.eventLoop();
  const figures = { runs, blockedMs: maxMs };
  for (const operation of ["put", "get"]) {
    figures[`${operation}50`] = percentile(times[operation], 0.5);
    figures[`${operation}99`] = percentile(times[operation], 0.99);
  }
  return figures;
}

async function compare() {
  await fill();
  const rows = Object.fromEntries(Object.keys(loads).map((name) => [name, []]));
  await part("alone");
  console.log(`load average at the start: ${loadavg()[0].toFixed(1)}`);
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of Object.keys(loads)) {
      const figures = await part(name);
      const alone = name === "alone" ? figures : rows.alone[round];
      rows[name].push({
        ...figures,
        putRatio: figures.put99 / alone.put99,
        getRatio: figures.get99 / alone.get99,
      });
    }
  }
  const table = {};
  for (const [name, rounds] of Object.entries(rows)) {
    const of = (field, digits = 1) => Number(median(rounds.map((figures) => figures[field])).toFixed(digits));
    table[name] = {
      "Get p50": of("get50"),
      "Get p99": of("get99"),
      "x alone": of("getRatio", 2),
      "Put p50": of("put50"),
      "Put p99": of("put99"),
      "x alone ": of("putRatio", 2),
      "loop blocked": of("blockedMs"),
      "loads done": of("runs", 0),
    };
  }
  console.table(table);
}

if (isMainThread) {
  try {
    await compare();
  } finally {
    agent.destroy();
    await stopAll();
  }
} else {
  await runLoad(loads[workerData.name]);
}
