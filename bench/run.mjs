// `npm run bench`: everything on this machine, in one run, interleaved with its rivals; medians of several rounds.
//
//   npm run bench -- --rounds 5 --seconds 2     more patience
//   npm run bench -- --quick                    one short round, to see that it works
//
// Prints tables and writes bench/results.json and bench/results.svg.
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { GetRequestSchema, PutRequestSchema } from "../dist/packages/client/src/gen.js";
import { chart } from "./chart.mjs";
import { grpcFrame, load } from "./load.mjs";
import { has, startEtcd, startNats, startServer, startService, stopAll } from "./processes.mjs";
import { etcdProgram } from "./rivals.mjs";

const run = promisify(execFile);
const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 1 : option("rounds", 3);
const DURATION_MS = (isQuick ? 0.5 : option("seconds", 1)) * 1000;
const SIZES = [128, 16_384];
/** Before its first round everything answers that long, unmeasured: Node compiles what is called often. */
const WARM_UP_MS = isQuick ? 100 : 1_000;
const KEY_PATH = "/api/v1/kv/buckets/bench/keys/key";
const SERVICE = "/ironflow.kv.v1.KeyValueService";
/** With a nats-server of its own, which lets it answer reads from memory. */
const EMBEDDED = "ironflow-kv, embedded";
/** As many processes as cores: etcd uses both cores too. */
const WORKERS = "ironflow-kv, two workers";
const GRPC = { "content-type": "application/grpc", te: "trailers" };

if (!has("h2load")) {
  console.log("npm run bench needs h2load: install Debian's nghttp2-client.");
  process.exit(1);
}

const message = (schema, fields) => toBinary(schema, create(schema, fields));
const getBody = message(GetRequestSchema, { bucket: "bench", key: "key" });
const putBody = (size) =>
  message(PutRequestSchema, { bucket: "bench", key: "key", value: new Uint8Array(size).fill(120) });

const calls = {
  "gRPC Get": () => ({ path: `${SERVICE}/Get`, headers: GRPC, body: grpcFrame(getBody) }),
  "gRPC Put": (size) => ({ path: `${SERVICE}/Put`, headers: GRPC, body: grpcFrame(putBody(size)) }),
  "Connect JSON Get": () => ({
    path: `${SERVICE}/Get`,
    headers: { "content-type": "application/json" },
    body: Buffer.from('{"bucket":"bench","key":"key"}'),
    http1: true,
  }),
  "REST GET": () => ({ path: KEY_PATH, http1: true }),
  "REST PUT": (size) => ({
    path: KEY_PATH,
    method: "PUT",
    headers: { "content-type": "application/octet-stream" },
    body: Buffer.alloc(size, "x"),
    http1: true,
  }),
};

/** etcd's Range and Put (etcd's rpc.proto: key is field 1, value field 2). */
function etcdCall(name, size) {
  const key = Buffer.from("\x0a\x03key");
  if (name === "Range") return { path: "/etcdserverpb.KV/Range", headers: GRPC, body: grpcFrame(key) };
  const length =
    size < 16_384
      ? [(size & 127) | 128, size >> 7]
      : [(size & 127) | 128, ((size >> 7) & 127) | 128, size >> 14];
  const value = Buffer.concat([Buffer.from([0x12, ...length]), Buffer.alloc(size, "x")]);
  return { path: "/etcdserverpb.KV/Put", headers: GRPC, body: grpcFrame(Buffer.concat([key, value])) };
}

async function rawNats(url, operation, inFlight, size) {
  const args = ["bench/raw-nats.mjs", url, "bench", operation, inFlight, size, DURATION_MS].map(String);
  return JSON.parse((await run(process.execPath, args)).stdout);
}

/** etcd takes a moment to elect itself. */
async function untilTaken(target, tries = 10) {
  await load(target, 1, 500).catch((error) => {
    if (tries === 0) throw error;
    return untilTaken(target, tries - 1);
  });
}

/** How long a start takes until the service answers, several times. */
async function startTimes(natsUrl) {
  const times = [];
  for (let count = isQuick ? 1 : 5; count > 0; count--) {
    const { startMs, pid } = await startService(natsUrl);
    times.push(startMs);
    process.kill(pid, "SIGTERM");
  }
  return times;
}

const rows = [];
/** Titles whose contestants are warm. */
const warm = new Set();
/** By title and name, at 128 in flight and 128 B: what each round gave. */
const byRound = new Map();

/** Measures several things in turn, round by round, so that whatever else the machine does meets all of them alike. */
async function compare(title, inFlight, size, contestants) {
  const samples = new Map(contestants.map(([name]) => [name, []]));
  if (!warm.has(title)) for (const [, measure] of contestants) await measure.warmUp?.();
  warm.add(title);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, measure] of contestants) samples.get(name).push(await measure());
  }
  if (inFlight === 128 && size === 128) {
    for (const [name, taken] of samples)
      byRound.set(
        `${title}: ${name}`,
        taken.map((sample) => sample.perSecond),
      );
  }
  console.log(`\n${title}, ${inFlight} in flight, ${size} B`);
  for (const [name, taken] of samples) {
    const perSecond = taken.map((sample) => sample.perSecond);
    const row = {
      title,
      name,
      inFlight,
      valueBytes: size,
      perSecond: Math.round(median(perSecond)),
      spread: [Math.round(Math.min(...perSecond)), Math.round(Math.max(...perSecond))],
      p50Ms: round3(median(taken.map((sample) => sample.p50Ms))),
      p99Ms: round3(median(taken.map((sample) => sample.p99Ms))),
      generatorCoreShare: round3(Math.max(...taken.map((sample) => sample.coreShare ?? 0))),
    };
    rows.push(row);
    const figures = `${String(row.perSecond).padStart(8)}/s  (${row.spread.join(" to ")})  p50 ${row.p50Ms} ms, p99 ${row.p99Ms} ms`;
    console.log(`  ${name.padEnd(44)}${figures}`);
  }
}

const median = (values) => [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)];
const round3 = (value) => Math.round(value * 1000) / 1000;
const find = (title, name, inFlight = 128, size = 128) =>
  rows.find(
    (row) => row.title === title && row.name === name && row.inFlight === inFlight && row.valueBytes === size,
  );

const residentMegabytes = (pid) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024);

try {
  const relaxed = await startNats("relaxed");
  const safe = await startNats("safe");
  const startsMs = await startTimes(relaxed.url);
  const embeddedStartsMs = await startTimes(undefined);
  const ours = await startService(relaxed.url);
  const stock = await startServer("stock-service.mjs", relaxed.url);
  const oursSafe = await startService(safe.url);
  const embedded = await startService(undefined, { DURABILITY: "relaxed" });
  const workers = await startService(relaxed.url, { WORKERS: "2" });
  const idleMegabytes = residentMegabytes(ours.pid);
  const connectEcho = await startServer("echo-connect.mjs");
  const http2Echo = await startServer("echo-http2.mjs");
  const httpEcho = await startServer("echo-http.mjs");
  const grpcJs = await startServer("echo-grpc-js.mjs");
  const program = etcdProgram();
  const etcd = program === undefined ? undefined : await startEtcd(program);
  if (etcd === undefined) console.log("etcd is not installed, nor Go to build it: its rows are left out.");

  for (const { port } of [ours, oursSafe, embedded]) {
    await fetch(`http://127.0.0.1:${port}/api/v1/kv/buckets`, {
      method: "POST",
      body: '{"name":"bench"}',
      headers: { "content-type": "application/json" },
    });
  }
  const put = (port, size) =>
    fetch(`http://127.0.0.1:${port}${KEY_PATH}`, { method: "PUT", body: new Uint8Array(size) });
  const on = (server, target, inFlight) => {
    const at = { ...target, port: server.port };
    const measure = () => load(at, inFlight, DURATION_MS);
    measure.warmUp = () => load(at, 128, WARM_UP_MS);
    return measure;
  };

  for (const size of isQuick ? [128] : SIZES) {
    await put(ours.port, size);
    await put(oursSafe.port, size);
    await put(embedded.port, size);
    if (etcd !== undefined) await untilTaken({ ...etcdCall("Put", size), port: etcd.port });
    for (const inFlight of isQuick ? [128] : [1, 32, 128]) {
      const get = calls["gRPC Get"]();
      const etcdGet = etcd === undefined ? [] : [["etcd Range", on(etcd, etcdCall("Range", size), inFlight)]];
      await compare("gRPC Get", inFlight, size, [
        ["ironflow-kv", on(ours, get, inFlight)],
        [EMBEDDED, on(embedded, get, inFlight)],
        [WORKERS, on(workers, get, inFlight)],
        ["ironflow-kv through stock connect-node", on(stock, get, inFlight)],
        ["stock connect-node echo, no storage", on(connectEcho, get, inFlight)],
        ["bare node:http2 echo, no storage", on(http2Echo, get, inFlight)],
        ["grpc-js echo, no storage", on(grpcJs, get, inFlight)],
        ["raw @nats-io/kv get", () => rawNats(relaxed.url, "get", inFlight, size)],
        ...etcdGet,
      ]);
      const write = calls["gRPC Put"](size);
      await compare("gRPC Put, relaxed", inFlight, size, [
        ["ironflow-kv", on(ours, write, inFlight)],
        ["ironflow-kv through stock connect-node", on(stock, write, inFlight)],
        ["raw @nats-io/kv put", () => rawNats(relaxed.url, "put", inFlight, size)],
      ]);
      const etcdPut = etcd === undefined ? [] : [["etcd Put", on(etcd, etcdCall("Put", size), inFlight)]];
      await compare("gRPC Put, safe", inFlight, size, [
        ["ironflow-kv", on(oursSafe, write, inFlight)],
        ["raw @nats-io/kv put", () => rawNats(safe.url, "put", inFlight, size)],
        ...etcdPut,
      ]);
      await compare("REST and Connect JSON", inFlight, size, [
        ["REST GET", on(ours, calls["REST GET"](), inFlight)],
        ["REST GET, embedded", on(embedded, calls["REST GET"](), inFlight)],
        ["REST PUT, relaxed", on(ours, calls["REST PUT"](size), inFlight)],
        ["Connect JSON Get", on(ours, calls["Connect JSON Get"](), inFlight)],
        ["bare node:http echo, no storage", on(httpEcho, { path: "/", http1: true }, inFlight)],
      ]);
    }
  }

  /** The median of the rounds' ratios. */
  const ratio = (title, name, rival) => {
    const [left, right] = [byRound.get(`${title}: ${name}`), byRound.get(`${title}: ${rival}`)];
    if (left === undefined || right === undefined) return undefined;
    return round3(median(left.map((perSecond, round) => perSecond / right[round])));
  };
  const addedMs = (name) => {
    const [ours, raw] = [find("gRPC Get", name, 1), find("gRPC Get", "raw @nats-io/kv get", 1)];
    return ours && raw ? round3(ours.p50Ms - raw.p50Ms) : undefined;
  };
  const summary = {
    "gRPC Get : same through stock connect-node": ratio(
      "gRPC Get",
      "ironflow-kv",
      "ironflow-kv through stock connect-node",
    ),
    "gRPC Put (relaxed) : same through stock": ratio(
      "gRPC Put, relaxed",
      "ironflow-kv",
      "ironflow-kv through stock connect-node",
    ),
    "gRPC Get : bare node:http2 echo": ratio("gRPC Get", "ironflow-kv", "bare node:http2 echo, no storage"),
    "gRPC Get : etcd Range": ratio("gRPC Get", "ironflow-kv", "etcd Range"),
    "gRPC Get, embedded : etcd Range": ratio("gRPC Get", EMBEDDED, "etcd Range"),
    "gRPC Get, two workers : etcd Range": ratio("gRPC Get", WORKERS, "etcd Range"),
    "REST GET : bare node:http echo": ratio(
      "REST and Connect JSON",
      "REST GET",
      "bare node:http echo, no storage",
    ),
    "REST GET, embedded : bare node:http echo": ratio(
      "REST and Connect JSON",
      "REST GET, embedded",
      "bare node:http echo, no storage",
    ),
    "Put (safe) : raw @nats-io/kv put": ratio("gRPC Put, safe", "ironflow-kv", "raw @nats-io/kv put"),
    "p50 added over the raw client at 1 in flight, ms": addedMs("ironflow-kv"),
    "the same, embedded, ms": addedMs(EMBEDDED),
    "the most of a core that the load generator took": Math.max(...rows.map((row) => row.generatorCoreShare)),
    "start to first answer on a running NATS, ms": Math.round(median(startsMs)),
    "start to first answer with an embedded NATS, ms": Math.round(median(embeddedStartsMs)),
    "resident memory of an idle server process, MB": idleMegabytes,
  };
  console.log("\nRatios and other figures (128 in flight, 128 B, unless said)");
  for (const [name, value] of Object.entries(summary))
    console.log(`  ${name.padEnd(52)}${value ?? "not measured"}`);
  const machine = {
    cores: cpus().length,
    cpu: cpus()[0]?.model,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    loadAverage: loadavg().map(round3),
    date: new Date().toISOString(),
  };
  if (!isQuick) {
    const results = { machine, rounds: ROUNDS, durationMs: DURATION_MS, summary, rows };
    writeFileSync(new URL("results.json", import.meta.url), `${JSON.stringify(results, null, 2)}\n`);
    writeFileSync(new URL("results.svg", import.meta.url), chart(rows));
  }
} finally {
  await stopAll();
}
