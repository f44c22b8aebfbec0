// `npm run bench:sdk`: Node clients in one process against one service, in turn, round by round; medians.
//
//   npm run bench:sdk -- --rounds 5 --seconds 2     more patience
//   npm run bench:sdk -- --entries 20000            a smaller snapshot
import { cpus, loadavg } from "node:os";
import { startNats, startService, stopAll } from "../processes.mjs";
import { startBrowser } from "./browser.mjs";
import { clients } from "./clients.mjs";

const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const ROUNDS = option("rounds", 3);
const DURATION_MS = option("seconds", 1) * 1000;
const WARM_UP_MS = DURATION_MS;
const ENTRIES = option("entries", 100_000);
const VALUE = new Uint8Array(128).fill(120);

/** Calls in flight for a time. */
async function load(call, inFlight, durationMs) {
  const latenciesMs = [];
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const worker = async () => {
    for (;;) {
      const beganMs = performance.now();
      if (beganMs - startMs >= durationMs) return;
      await call();
      latenciesMs.push(performance.now() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  latenciesMs.sort((left, right) => left - right);
  return {
    perSecond: latenciesMs.length / seconds,
    p50Ms: latenciesMs[Math.floor(latenciesMs.length / 2)] ?? 0,
    p99Ms: latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? 0,
    cpuUs: (user + system) / latenciesMs.length,
  };
}

const median = (values) => [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)];

/** Measures each contestant in each round, so that whatever else the machine does meets all of them alike. */
async function compare(title, contestants, measure, print) {
  for (const contestant of contestants) await measure(contestant, WARM_UP_MS);
  const samples = contestants.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, contestant] of contestants.entries())
      samples[index].push(await measure(contestant, DURATION_MS));
  }
  console.log(`\n${title}`);
  for (const [index, { name }] of contestants.entries())
    console.log(`  ${name.padEnd(34)}${print(samples[index])}`);
}

function printLoad(samples) {
  const of = (field) => median(samples.map((sample) => sample[field]));
  const perSecond = `${Math.round(of("perSecond"))}/s`.padStart(9);
  return `${perSecond}  p50 ${of("p50Ms").toFixed(3)} ms, p99 ${of("p99Ms").toFixed(3)} ms, ${of("cpuUs").toFixed(0)} us of CPU a call`;
}

try {
  const nats = await startNats("relaxed");
  const service = await startService(undefined, { DURABILITY: "relaxed" });
  const serverUrl = `http://127.0.0.1:${service.port}`;
  const contestants = await clients({ serverUrl, natsUrl: nats.url, value: VALUE });
  console.log(
    `Node ${process.version}, ${cpus().length} cores, load ${loadavg()[0].toFixed(1)}, ${ROUNDS} rounds of ${DURATION_MS} ms`,
  );
  for (const inFlight of [32, 1]) {
    for (const kind of ["get", "put"]) {
      await compare(
        `${kind}, ${inFlight} in flight, ${VALUE.length} B`,
        contestants.filter((contestant) => contestant[kind] !== undefined),
        (contestant, durationMs) => load(contestant[kind], inFlight, durationMs),
        printLoad,
      );
    }
  }
  const browser = await startBrowser(serverUrl);
  if (browser === undefined) console.log("\nA page in Chromium: left out, as there is no Chromium.");
  else {
    for (const inFlight of [32, 1]) {
      const samples = [];
      for (let round = 0; round <= ROUNDS; round++) samples.push(await browser.gets(inFlight, DURATION_MS));
      const perSecond = median(samples.slice(1).map((sample) => sample.perSecond));
      const p50Ms = median(samples.slice(1).map((sample) => sample.p50Ms));
      console.log(
        `\nget from a page in Chromium, ${inFlight} in flight: ${Math.round(perSecond)}/s, p50 ${p50Ms.toFixed(3)} ms`,
      );
    }
    await browser.close();
  }
  for (const { fill } of contestants) await fill?.(ENTRIES);
  await compare(
    `a snapshot watch of ${ENTRIES} entries`,
    contestants.filter(({ snapshot }) => snapshot !== undefined),
    async ({ snapshot }) => {
      const startMs = performance.now();
      const count = await snapshot();
      if (count !== ENTRIES) throw new Error(`${count} entries instead of ${ENTRIES}`);
      return performance.now() - startMs;
    },
    (samples) => `${Math.round(median(samples))} ms`.padStart(9),
  );
} finally {
  await stopAll();
}
process.exit();
