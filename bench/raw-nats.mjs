// The client library alone on the same nats-server: gets or puts for a time, with so many in flight. Prints one line of JSON.
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";

const [url, bucket, operation, inFlight, valueBytes, durationMs] = process.argv.slice(2);
const connection = await connect({ servers: url });
const kv = await new Kvm(connection).open(`APP_${bucket}`);
const value = new Uint8Array(Number(valueBytes)).fill(120);
const latenciesMs = [];
const warmUpMs = Number(durationMs) / 4;
const startMs = performance.now();
const countFromMs = startMs + warmUpMs;
const endMs = countFromMs + Number(durationMs);

async function work() {
  for (;;) {
    const beganMs = performance.now();
    if (beganMs >= endMs) return;
    if (operation === "get") await kv.get("key");
    else await kv.put("key", value);
    const doneMs = performance.now();
    if (doneMs >= countFromMs && doneMs < endMs) latenciesMs.push(doneMs - beganMs);
  }
}
await Promise.all(Array.from({ length: Number(inFlight) }, work));
latenciesMs.sort((left, right) => left - right);
const at = (share) => latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0;
console.log(
  JSON.stringify({
    perSecond: (latenciesMs.length / Number(durationMs)) * 1000,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  }),
);
await connection.close();
