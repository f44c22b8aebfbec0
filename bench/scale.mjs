// `npm run bench:scale`: one bucket of a million keys, beside etcd with the same keys (`etcd` on PATH; 3.7 was compared).
//
//   npm run bench:scale -- --keys 100000    a smaller bucket
//
// Both have each write on disk before it is acknowledged, which is the default of both. Needs Debian's nghttp2-client for the rows of calls a
// second. Prints each figure as it is measured, with the machine's load.
import { Agent, get } from "node:http";
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { load } from "./load.mjs";
import { startEtcd, startFilled, stopAll, startScript } from "./processes.mjs";
import { etcdProgram } from "./rivals.mjs";
import { field, fillEtcd, grpcFrame, number, rangeCall } from "./scale/etcd.mjs";
import { keyOf, VALUE } from "./scale/keys.mjs";

const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const KEYS = option("keys", 1_000_000);
const BUCKETS = option("buckets", 2_000);
const CALLS = 30;
const DURATION_MS = 3_000;
const GRPC = { "content-type": "application/grpc", te: "trailers" };
const LIST_PATH = "/api/v1/kv/buckets/big/keys";
const agent = new Agent({ keepAlive: true, maxSockets: Infinity });

const report = (name, figure) =>
  console.log(`${name.padEnd(58)} ${figure}   (load ${loadavg()[0].toFixed(1)})`);

/** Gets a path; resolves with the body's length, its last bytes and the time. */
function fetchOf(port, path, headers = {}, isOver = () => false) {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    const request = get({ port, host: "127.0.0.1", path, agent, headers }, (response) => {
      let [length, tail] = [0, ""];
      const end = () =>
        resolve({ length, tail, status: response.statusCode, ms: performance.now() - startMs });
      response.on("data", (part) => {
        length += part.length;
        tail = (tail + part.toString("latin1")).slice(-400);
        if (!isOver(tail)) return;
        end();
        request.destroy();
      });
      response.on("end", end);
      response.on("error", reject);
    });
    request.on("error", reject);
  });
}

/** Lists until a call succeeds: on a loaded machine, the index may take longer to load than a call may. */
async function firstPage(port) {
  const startMs = performance.now();
  for (let failed = 0; ; failed++) {
    const { status } = await fetchOf(port, `${LIST_PATH}?limit=1000`);
    if (status === 200) return { ms: performance.now() - startMs, failed };
  }
}

async function starts(name, { port, startMs }) {
  report(`${name}, to ready`, `${Math.round(startMs)} ms`);
  const { ms, failed } = await firstPage(port);
  report(`${name}, to the first page`, `${Math.round(startMs + ms)} ms, ${failed} calls failed before it`);
}

/** Lists that arrive together. */
async function together(port, lists) {
  const paths = Array.from({ length: lists }, () => `${LIST_PATH}?limit=1000`);
  const answers = await Promise.all(paths.map((path) => fetchOf(port, path)));
  const failed = answers.filter(({ status }) => status !== 200).length;
  report(
    `${lists} pages of 1,000 at once`,
    `${Math.round(Math.max(...answers.map(({ ms }) => ms)))} ms, ${failed} failed`,
  );
}

/** Lists of many small buckets, all of which were counted before. */
async function manyBuckets(port, count) {
  const create = (name) =>
    fetch(`http://127.0.0.1:${port}/api/v1/kv/buckets`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name }),
    });
  for (let at = 0; at < count; at += 50)
    await Promise.all(Array.from({ length: 50 }, (_, offset) => create(`small-${at + offset}`)));
  await fetchOf(port, "/api/v1/kv/buckets");
  report(`${count} buckets listed, warm`, await times(port, "/api/v1/kv/buckets", 5));
}

async function metrics(port) {
  return { text: await (await fetch(`http://127.0.0.1:${port}/metrics`)).text() };
}

async function times(port, path, calls = CALLS) {
  const all = [];
  for (let call = 0; call < calls; call++) {
    const { ms, status, tail } = await fetchOf(port, typeof path === "string" ? path : path(call));
    if (status !== 200) throw new Error(`${status} ${tail}`);
    all.push(ms);
  }
  all.sort((one, other) => one - other);
  return `p50 ${all[calls >> 1].toFixed(1)} ms, max ${all.at(-1).toFixed(1)} ms`;
}

const residentMb = (pid) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1_024);

async function pages(port, name) {
  report(`bucket info, ${name}`, await times(port, "/api/v1/kv/buckets/big"));
  report(`page of 1,000 keys, the first, ${name}`, await times(port, `${LIST_PATH}?limit=1000`));
  const filter = (call) => `${LIST_PATH}?filters=tenant-${String(call * 31).padStart(4, "0")}.%3E`;
  report(`prefix with ${KEYS / 1_000} matches, ${name}`, await times(port, filter));
}

async function perSecond(name, port, call, inFlight, etcd) {
  const runs = [];
  for (const target of [{ port, ...call }, ...(etcd === undefined ? [] : [etcd])])
    runs.push(await load(target, inFlight, DURATION_MS));
  const [ours, theirs] = runs.map((run) => run.perSecond);
  const ratio =
    theirs === undefined ? "" : `, etcd ${theirs.toFixed(0)}: ${(ours / theirs).toFixed(1)} times`;
  report(name, `${ours.toFixed(0)} a second${ratio}`);
}

try {
  console.log(
    `${cpus().length} cores, ${KEYS} keys of ${keyOf(0).length} bytes, values of ${VALUE.length} bytes`,
  );
  const keys = Array.from({ length: KEYS }, (_, index) => keyOf(index));
  const filled = await startFilled(keys, VALUE);
  await starts("start without a copy of the index", filled);
  const service = await filled.restart();
  await starts("restart", service);
  const { tail } = await fetchOf(service.port, "/api/v1/kv/buckets/big");
  report("keys counted", /"values":\s*"?(\d+)/.exec(tail)?.[1]);
  await pages(service.port, "idle");
  const all = await fetchOf(service.port, LIST_PATH);
  report("all keys, one response", `${Math.round(all.ms)} ms, ${all.length} bytes`);
  const watchPath = "/api/v1/kv/buckets/big/watch?start=snapshot&snapshot_end=true&keys_only=true";
  const sse = { accept: "text/event-stream" };
  const snapshot = await fetchOf(service.port, watchPath, sse, (text) => text.includes("snapshot_end"));
  report("keys-only snapshot over SSE", `${Math.round(snapshot.ms)} ms`);
  report("memory of the service after that", `${residentMb(service.pid)} MB`);
  await together(service.port, 128);
  const { text } = await metrics(service.port);
  const [bytes, count] = ["bytes", "keys"].map((name) =>
    Number(new RegExp(`index_${name} (\\d+)`).exec(text)?.[1]),
  );
  report("bytes of the index for each key", (bytes / count).toFixed(1));

  const list = Buffer.concat([field(1, "big"), number(3, 1_000)]);
  const listCall = { path: "/ironflow.kv.v1.KeyValueService/ListKeys", headers: GRPC, body: grpcFrame(list) };
  const infoCall = {
    path: "/ironflow.kv.v1.BucketService/GetBucket",
    headers: GRPC,
    body: grpcFrame(field(1, "big")),
  };
  const program = etcdProgram();
  const etcd = program === undefined ? undefined : await startEtcd(program);
  if (etcd !== undefined) await fillEtcd(etcd.port, keys, VALUE);
  const range = (options) =>
    etcd === undefined ? undefined : { port: etcd.port, ...rangeCall("tenant-", "tenant.", options) };
  await perSecond(
    "ListKeys of 1,000 at 8 in flight, idle",
    service.port,
    listCall,
    8,
    range({ limit: 1_000 }),
  );
  await perSecond(
    "GetBucket (count) at 8 in flight, idle",
    service.port,
    infoCall,
    8,
    range({ countOnly: true }),
  );
  const writerOf = (port, kind) => startScript("scale/writer.mjs", `http://127.0.0.1:${port}`, kind, 2_000);
  const writer = await writerOf(service.port, "service");
  await pages(service.port, "under writes");
  await perSecond("ListKeys of 1,000 at 8 in flight, under writes", service.port, listCall, 8);
  report("writes a second meanwhile", JSON.stringify(await writer.ask("stop")));
  if (etcd !== undefined) {
    const other = await writerOf(etcd.port, "etcd");
    const { perSecond } = await load(range({ limit: 1_000 }), 8, DURATION_MS);
    report(
      "the same of etcd",
      `${perSecond.toFixed(0)} a second, ${JSON.stringify(await other.ask("stop"))}`,
    );
  }
  report("memory of the service at the end", `${residentMb(service.pid)} MB`);
  await manyBuckets(service.port, BUCKETS);
} finally {
  agent.destroy();
  await stopAll();
}
