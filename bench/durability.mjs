// `node bench/durability.mjs`, after a build: what durability and consistency cost. Everything on this machine, interleaved, medians.
//
//   node bench/durability.mjs --rounds 5 --seconds 3     more patience
//   node bench/durability.mjs --write                    puts the tables into docs/durability.md
import { readFileSync, writeFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { Consistency, GetRequestSchema, PutRequestSchema } from "../dist/packages/client/src/gen.js";
import { grpcFrame, load } from "./load.mjs";
import { has, startNatsCluster, startService, stopAll } from "./processes.mjs";

const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const ROUNDS = option("rounds", 3);
const DURATION_MS = option("seconds", 2) * 1000;
const GRPC = { "content-type": "application/grpc", te: "trailers" };
const VALUE = new Uint8Array(128).fill(120);

if (!has("h2load")) {
  console.log("bench/durability.mjs needs h2load: install Debian's nghttp2-client.");
  process.exit(1);
}

const target = (port, call, schema, fields) => ({
  port,
  path: `/ironflow.kv.v1.KeyValueService/${call}`,
  headers: GRPC,
  body: grpcFrame(toBinary(schema, create(schema, fields))),
});
const bucketName = (index) => `bench${index}`;
const put = (port, index) =>
  target(port, "Put", PutRequestSchema, { bucket: bucketName(index), key: "key", value: VALUE });
const get = (port, consistency) =>
  target(port, "Get", GetRequestSchema, { bucket: bucketName(0), key: "key", consistency });

async function createBuckets(port, count) {
  for (let index = 0; index < count; index++) {
    const body = JSON.stringify({ name: bucketName(index) });
    const headers = { "content-type": "application/json" };
    for (;;) {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/kv/buckets`, {
        method: "POST",
        body,
        headers,
      });
      // A cluster that has just begun has no leader yet.
      if (response.ok || response.status === 409) break;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Calls per second over all targets at once, each with its share of the calls in flight; the latencies are those of the slowest. */
async function loadAll(targets, inFlight) {
  const samples = await Promise.all(
    targets.map((one) => load(one, Math.ceil(inFlight / targets.length), DURATION_MS)),
  );
  return {
    perSecond: samples.reduce((sum, { perSecond }) => sum + perSecond, 0),
    p50Ms: Math.max(...samples.map(({ p50Ms }) => p50Ms)),
    p99Ms: Math.max(...samples.map(({ p99Ms }) => p99Ms)),
  };
}

const median = (values) => [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)];

/** One line of a table: the same load on each of the contestants, in turns. */
async function compare(title, inFlight, contestants) {
  const samples = contestants.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, targets] of contestants.entries())
      samples[index].push(await loadAll(targets, inFlight));
  }
  const cells = samples.map((taken) => {
    const of = (field) => median(taken.map((sample) => sample[field]));
    return `${Math.round(of("perSecond")).toLocaleString("en")}/s, ${of("p50Ms").toFixed(2)} / ${of("p99Ms").toFixed(2)} ms`;
  });
  print(`| ${title} | ${cells.join(" | ")} |`);
}

/** Lines of the table that is made. */
let table = [];
function print(line) {
  table.push(line);
  console.log(line);
}

/** Puts the table between its marks in the documentation, where that is asked for, and begins another one. */
function finishTable(name) {
  const file = new URL("../docs/durability.md", import.meta.url);
  const between = new RegExp(`(<!-- ${name}:begin -->)[^]*(<!-- ${name}:end -->)`);
  const text = `$1\n\n${table.join("\n")}\n\n$2`;
  if (process.argv.includes("--write"))
    writeFileSync(file, readFileSync(file, "utf8").replace(between, text));
  table = [];
}

try {
  const safe = await startService(undefined, { DURABILITY: "safe" });
  const relaxed = await startService(undefined, { DURABILITY: "relaxed" });
  for (const { port } of [safe, relaxed]) await createBuckets(port, 8);
  console.log("Put of 128 B over gRPC, embedded server: calls per second, p50 / p99\n");
  print("| In flight | safe | relaxed |\n| --- | --- | --- |");
  for (const [inFlight, buckets] of [
    [1, 1],
    [16, 1],
    [128, 1],
    [16, 8],
    [128, 8],
  ]) {
    const targets = ({ port }) => Array.from({ length: buckets }, (_, index) => put(port, index));
    const title = `${inFlight}, ${buckets === 1 ? "1 bucket" : `${buckets} buckets`}`;
    await compare(title, inFlight, [targets(safe), targets(relaxed)]);
  }
  finishTable("puts");

  const cluster = await startService((await startNatsCluster()).join(","), { REPLICAS: "3" });
  await createBuckets(cluster.port, 1);
  await load(put(cluster.port, 0), 1, 200);
  console.log("\nGet of 128 B over gRPC, three servers, REPLICAS=3: calls per second, p50 / p99\n");
  print("| In flight | strong | eventual |\n| --- | --- | --- |");
  for (const inFlight of [1, 16, 128]) {
    const targets = [Consistency.STRONG, Consistency.EVENTUAL].map((one) => [get(cluster.port, one)]);
    await compare(String(inFlight), inFlight, targets);
  }
  finishTable("gets");
} finally {
  await stopAll();
}
