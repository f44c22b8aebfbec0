// `npm run bench:writes`: ironflow-kv with safe writes beside etcd, by a load generator in Go: interleaved, medians of several rounds. Needs Go,
// and etcd on PATH or Go to build it.
//
//   npm run bench:writes -- --rows put-128,get --rounds 5 --seconds 3 --scan 1000000
import { cpus, loadavg } from "node:os";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { startEtcd, startEtcdCluster, startNatsCluster, startService, stopAll } from "./processes.mjs";
import { etcdProgram, hasGo, writesProgram } from "./rivals.mjs";

const run = promisify(execFile);
const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : process.argv[at + 1];
};
const ROUNDS = Number(option("rounds", 3));
const SECONDS = Number(option("seconds", 2));
/** The entries of the scan. */
const SCANNED = Number(option("scan", 100_000));
const KEYS = 20_000;
const BATCH_KEYS = 100;
/** In flight while keys are written that a row reads. */
const FILL_IN_FLIGHT = 512;
const WANTED_P50 = "p50 <= 1.0 x";

/** The rows: `rival` is etcd unless it says otherwise. `times`: what an operation counts for. */
const ROWS = {
  "put-128": { title: "Put, 128 in flight : etcd Put", workload: "put", inFlight: 128, wanted: ">= 1.1" },
  "put-512": { title: "Put, 512 in flight : etcd Put", workload: "put", inFlight: 512, wanted: ">= 1.3" },
  "put-1": { title: "Put, 1 in flight : etcd Put", workload: "put", inFlight: 1, wanted: WANTED_P50 },
  mixed: {
    title: "95 % Get, 5 % Put, 128 in flight : etcd",
    workload: "mixed",
    inFlight: 128,
    wanted: ">= 1.6, p99 <= 1.0 x",
  },
  get: { title: "Get, 128 in flight : etcd Range", workload: "get", inFlight: 128, wanted: ">= 1.8" },
  commit: {
    title: "Commit of 2 puts, 64 in flight : etcd Txn",
    workload: "commit",
    inFlight: 64,
    wanted: ">= 1.0",
  },
  "batch-get": {
    title: `keys of BatchGets of ${BATCH_KEYS}, 1 in flight : Gets, 1 in flight`,
    workload: "batch-get",
    inFlight: 1,
    times: BATCH_KEYS,
    wanted: ">= 10",
    rival: { name: "Get", workload: "get" },
  },
  scan: {
    title: `entries of a Scan of ${SCANNED.toLocaleString("en")} with values : etcd, paged Range`,
    workload: "scan",
    inFlight: 1,
    keys: SCANNED,
    wanted: ">= 1.0",
  },
  three: {
    title: "three nodes, 3 replicas, Put, 128 in flight : etcd of three",
    workload: "put",
    inFlight: 128,
    nodes: 3,
    wanted: ">= 1.0",
  },
};

if (!hasGo()) {
  console.log("npm run bench:writes needs Go (https://go.dev) to build the load generator.");
  process.exit(1);
}
const names = option("rows", Object.keys(ROWS).join(",")).split(",");
const unknown = names.find((name) => ROWS[name] === undefined);
if (unknown !== undefined) {
  console.log(`There is no row ${unknown}; the rows are ${Object.keys(ROWS).join(", ")}.`);
  process.exit(1);
}
const load = writesProgram();
const etcd = etcdProgram();
try {
  const table = {};
  // Rows of the same servers and the same keys share them.
  const groups = new Map();
  for (const name of names) {
    const { nodes = 1, keys = KEYS } = ROWS[name];
    const servers = `${nodes} ${keys}`;
    groups.set(servers, [...(groups.get(servers) ?? []), name]);
  }
  for (const group of groups.values()) Object.assign(table, await measure(group.map((name) => ROWS[name])));
  console.table(table);
  const [oneMinute] = loadavg();
  console.log(
    `${cpus().length} cores, Node ${process.version}, ${ROUNDS} rounds of ${SECONDS} s, load average ${oneMinute.toFixed(1)}`,
  );
} finally {
  await stopAll();
}

/** Measures rows of the same servers. */
async function measure(rows) {
  const [{ nodes = 1, keys = KEYS }] = rows;
  const isThree = nodes > 1;
  const targets = { ironflow: await (isThree ? startOnCluster() : startAlone()) };
  if (etcd !== undefined) {
    const { port, ports = [port] } = await (isThree ? startEtcdCluster(etcd) : startEtcd(etcd));
    targets.etcd = ports.map((each) => `127.0.0.1:${each}`).join(",");
  }
  for (const target of Object.keys(targets)) await send("fill", target, FILL_IN_FLIGHT);
  const results = rows.map(() => ({ ours: [], theirs: [] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, { workload, inFlight, rival }] of rows.entries()) {
      const { ours, theirs } = results[index];
      const runs = [async () => ours.push(await send(workload, "ironflow", inFlight))];
      if (rival !== undefined)
        runs.push(async () => theirs.push(await send(rival.workload, "ironflow", inFlight)));
      else if (etcd !== undefined) runs.push(async () => theirs.push(await send(workload, "etcd", inFlight)));
      // The order turns with each round: nobody is always the first.
      if (round % 2 === 1) runs.reverse();
      for (const measureOne of runs) await measureOne();
    }
  }
  await stopAll();
  return Object.fromEntries(rows.map((row, index) => [row.title, lineOf(row, results[index])]));

  async function send(workload, target, inFlight) {
    const { stdout } = await run(load, [
      workload,
      target,
      targets[target],
      ...[inFlight, SECONDS, keys].map(String),
    ]);
    const result = JSON.parse(stdout);
    if (result.failed > 0)
      console.log(`${target}, ${workload}, ${inFlight} in flight: ${result.failed} failed: ${result.error}`);
    return result;
  }
}

async function startAlone() {
  const { port } = await startService(undefined, { DURABILITY: "safe" });
  await createBucket(port);
  return `127.0.0.1:${port}`;
}

async function startOnCluster() {
  const urls = await startNatsCluster("safe");
  const { port } = await startService(urls.join(","), { REPLICAS: "3" });
  await createBucket(port);
  return `127.0.0.1:${port}`;
}

async function createBucket(port) {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/kv/buckets`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"name":"bench"}',
  });
  if (!response.ok) throw new Error(`The bucket could not be created: ${await response.text()}`);
}

function lineOf({ wanted, times = 1 }, { ours, theirs }) {
  const own = medians(ours);
  const line = { "per second": Math.round(own.perSecond * times), "p50 / p99 ms": timesOf(own) };
  if (theirs.length === 0) return line;
  const other = medians(theirs);
  return {
    ...line,
    rival: Math.round(other.perSecond),
    "rival's p50 / p99 ms": timesOf(other),
    ratio: Number(((own.perSecond * times) / other.perSecond).toFixed(2)),
    wanted,
  };
}

function timesOf({ p50Ms, p99Ms }) {
  return p50Ms === 0 ? "" : `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(1)}`;
}

function medians(results) {
  const median = (field) => results.map((result) => result[field]).sort((a, b) => a - b)[results.length >> 1];
  return { perSecond: median("perSecond"), p50Ms: median("p50Ms"), p99Ms: median("p99Ms") };
}
