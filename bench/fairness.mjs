// `npm run bench:fairness`: what heavy reads of some buckets cost the calls of another one.
//
//   npm run bench:fairness -- --rounds 5 --seconds 4     more patience
//   npm run bench:fairness -- --only "2 histories"       one load
//   npm run bench:fairness -- --closed                   callers that start a call as soon as the one before it ends
//   npm run bench:fairness -- --quick                    smaller buckets, to see that it works
//
// 16 callers in a process of their own put and get keys of a bucket of their own: alone, beside a heavy load from a second process, and
// beside a process that has nothing to do with the service but uses as much CPU as the load did in all processes together. These parts take
// turns, so that a change of the machine's speed meets all of them. Prints medians over the rounds: p50 and p99 in milliseconds, and p99 as
// a multiple of that alone and of that beside the other process ("x busy": what the service adds to what the machine allows). The process
// that loads and the other one have the lowest priority: clients are on other machines, so their own work must not delay the service.
import { readdirSync } from "node:fs";
import { constants, loadavg, setPriority } from "node:os";
import { fillBuckets } from "./fairness/buckets.mjs";
import { closeConnections } from "./fairness/http.mjs";
import { LOADS } from "./fairness/loads.mjs";
import { cpuMsOf, startMeasuredService, startNats, startScript, stopAll } from "./processes.mjs";

const optionOf = (name) => process.argv[process.argv.indexOf(`--${name}`) + 1];
const has = (name) => process.argv.includes(`--${name}`);
const isQuick = has("quick");
const ROUNDS = has("rounds") ? Number(optionOf("rounds")) : isQuick ? 1 : 3;
const DURATION_MS = has("seconds") ? Number(optionOf("seconds")) * 1_000 : isQuick ? 1_000 : 2_000;
/** Each caller starts a call this often: 16 callers make 800 calls a second. */
const INTERVAL_MS = has("closed") ? 0 : 20;
const NAMES = Object.keys(LOADS).filter((name) => !has("only") || name === optionOf("only"));

async function compare() {
  const nats = await startNats("relaxed");
  const service = await startMeasuredService(nats.url);
  await fillBuckets(service.port, nats.url, isQuick ? 20_000 : 200_000);
  const callers = await startScript("fairness/callers.mjs", service.port);
  const loads = await startScript("fairness/loads.mjs", service.port);
  const burner = await startScript("fairness/burner.mjs");
  for (const { pid } of [loads, burner]) lowerPriority(pid);
  const servers = [service.pid, nats.pid];
  const cpuMs = (pids) => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);

  /** The callers' figures, and what the servers and the load used meanwhile. */
  async function part() {
    await service.eventLoop();
    const before = [cpuMs(servers), cpuMs([loads.pid])];
    const figures = await callers.ask({ durationMs: DURATION_MS, intervalMs: INTERVAL_MS });
    if (figures.failure !== undefined) throw new Error(figures.failure);
    figures.serverCpuMs = cpuMs(servers) - before[0];
    figures.loadCpuMs = cpuMs([loads.pid]) - before[1];
    return { ...figures, loop: await service.eventLoop() };
  }

  const besideLoad = async (name) => {
    loads.send(name);
    const figures = await part();
    const { runs, failure } = await loads.ask("end");
    if (failure !== undefined) throw new Error(failure);
    return { ...figures, runs };
  };

  const besideBurner = async (cores) => {
    burner.send(cores);
    const figures = await part();
    burner.send(0);
    return figures;
  };

  const rounds = Object.fromEntries(NAMES.map((name) => [name, []]));
  await part();
  console.log(`load average at the start: ${loadavg()[0].toFixed(1)}`);
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of NAMES) {
      const alone = await part();
      const loaded = await besideLoad(name);
      const cpuPerCall = alone.serverCpuMs / alone.calls;
      const cores =
        Math.max(0, loaded.loadCpuMs + loaded.serverCpuMs - cpuPerCall * loaded.calls) / DURATION_MS;
      const busy = await besideBurner(cores);
      rounds[name].push({ alone, loaded, busy, cores });
    }
  }
  for (const operation of ["get", "put"]) {
    console.log(operation);
    console.table(Object.fromEntries(NAMES.map((name) => [name, rowOf(operation, rounds[name])])));
  }
}

/** A priority belongs to a thread. */
function lowerPriority(pid) {
  for (const thread of readdirSync(`/proc/${pid}/task`))
    setPriority(Number(thread), constants.priority.PRIORITY_LOW);
}

function rowOf(operation, rounds) {
  const median = (values, digits = 1) =>
    Number([...values].sort((left, right) => left - right)[Math.floor(values.length / 2)].toFixed(digits));
  const of = (part, field, digits) =>
    median(
      rounds.map((round) => round[part][field]),
      digits,
    );
  const ratio = (base) =>
    median(
      rounds.map(({ loaded, [base]: other }) => loaded[`${operation}99`] / other[`${operation}99`]),
      2,
    );
  return {
    "alone p50": of("alone", `${operation}50`),
    "alone p99": of("alone", `${operation}99`),
    "busy p99": of("busy", `${operation}99`),
    p50: of("loaded", `${operation}50`),
    p99: of("loaded", `${operation}99`),
    "x alone": ratio("alone"),
    "x busy": ratio("busy"),
    "loop p99": median(rounds.map(({ loaded }) => loaded.loop.p99Ms)),
    "loop max": median(rounds.map(({ loaded }) => loaded.loop.maxMs)),
    "load's cores": median(
      rounds.map(({ cores }) => cores),
      2,
    ),
    "loads done": of("loaded", "runs", 0),
  };
}

try {
  await compare();
} finally {
  closeConnections();
  await stopAll();
}
