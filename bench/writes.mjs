// `npm run bench:writes`: safe Puts to 20,000 keys of one bucket, with and without group commit, beside etcd: interleaved, medians of several
// rounds. Needs Go, which builds the load generator, and etcd if it is not on PATH.
//
//   npm run bench:writes -- --rounds 5 --seconds 3
import { execFile } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { promisify } from "node:util";
import { startEtcd, startService, stopAll } from "./processes.mjs";
import { etcdProgram, hasGo, writesProgram } from "./rivals.mjs";

const run = promisify(execFile);
const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const ROUNDS = option("rounds", 3);
const SECONDS = option("seconds", 2);
const KEYS = 20_000;
const IN_FLIGHT = [1, 16, 128, 512];

if (!hasGo()) {
  console.log("npm run bench:writes needs Go (https://go.dev) to build the load generator.");
  process.exit(1);
}

const load = writesProgram();
const etcd = etcdProgram();
try {
  const rows = await measure();
  print(rows);
} finally {
  await stopAll();
}

async function measure() {
  const rivals = [];
  for (const groupCommit of ["on", "off"]) {
    const { port } = await startService(undefined, { DURABILITY: "safe", GROUP_COMMIT: groupCommit });
    const request = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"name":"bench"}',
    };
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/kv/buckets`, request);
    if (!response.ok) throw new Error(`The bucket could not be created: ${await response.text()}`);
    rivals.push({
      name: `ironflow-kv, GROUP_COMMIT=${groupCommit}`,
      target: "ironflow",
      port,
      results: new Map(),
    });
  }
  if (etcd !== undefined)
    rivals.push({ name: "etcd", target: "etcd", port: (await startEtcd(etcd)).port, results: new Map() });
  for (let round = 0; round < ROUNDS; round++) {
    for (const inFlight of IN_FLIGHT) {
      // The order turns with each round: nobody is always the first.
      for (let at = 0; at < rivals.length; at++) {
        const rival = rivals[(at + round) % rivals.length];
        const { stdout } = await run(load, [
          rival.target,
          `127.0.0.1:${rival.port}`,
          ...[inFlight, SECONDS, KEYS].map(String),
        ]);
        const result = JSON.parse(stdout);
        if (result.failed > 0)
          console.log(`${rival.name}, ${inFlight} in flight: ${result.failed} failed: ${result.error}`);
        rival.results.set(inFlight, [...(rival.results.get(inFlight) ?? []), result]);
      }
    }
  }
  return rivals;
}

function print(rivals) {
  const [on] = rivals;
  const table = {};
  for (const inFlight of IN_FLIGHT) {
    for (const rival of rivals) {
      const { perSecond, p50Ms, p99Ms } = medians(rival.results.get(inFlight));
      const ratio = medians(on.results.get(inFlight)).perSecond / perSecond;
      table[`${inFlight} in flight: ${rival.name}`] = {
        "per second": Math.round(perSecond),
        "p50 ms": p50Ms,
        "p99 ms": p99Ms,
        "GROUP_COMMIT=on : this": Number(ratio.toFixed(2)),
      };
    }
  }
  console.table(table);
  const [oneMinute] = loadavg();
  console.log(
    `${cpus().length} cores, Node ${process.version}, ${ROUNDS} rounds of ${SECONDS} s, load average ${oneMinute.toFixed(1)}`,
  );
}

function medians(results) {
  const median = (field) => results.map((result) => result[field]).sort((a, b) => a - b)[results.length >> 1];
  return { perSecond: median("perSecond"), p50Ms: median("p50Ms"), p99Ms: median("p99Ms") };
}
