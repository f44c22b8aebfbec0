// `node bench/batches.mjs`: what nats-server alone takes for the atomic batches of group commit, with `sync_interval: always`: one batch at a time,
// values of 128 bytes to 20,000 keys of one stream as the service configures it. Prints, for each size of a batch, milliseconds per batch, messages
// per second, and nats-server's CPU time per message in microseconds. Needs a build.
import { connect, headers } from "@nats-io/transport-node";
import { loadavg } from "node:os";
import { cpuMsOf, startNats, stopAll } from "./processes.mjs";

const SIZES = [1, 16, 32, 64, 128, 256, 512];
const KEYS = 20_000;
/** Coprime to the number of keys. */
const KEY_STEP = 7_919;
const DURATION_MS = 1_500;
const WARM_UP_BATCHES = 40;
const VALUE = new Uint8Array(128).fill(120);

let count = 0;

async function publishBatch(connection, size) {
  const id = `batch-${count}`;
  for (let index = 1; index <= size; index++) {
    const subject = `$KV.APP_bench.user.${(count * KEY_STEP) % KEYS}`;
    const fields = headers();
    fields.set("Nats-Msg-Id", `message-${count++}`);
    if (size > 1) {
      fields.set("Nats-Batch-Id", id);
      fields.set("Nats-Batch-Sequence", String(index));
    }
    if (index < size) {
      connection.publish(subject, VALUE, { headers: fields });
      continue;
    }
    if (size > 1) fields.set("Nats-Batch-Commit", "1");
    const answer = (await connection.request(subject, VALUE, { headers: fields, timeout: 5_000 })).json();
    if (answer.error !== undefined) throw new Error(answer.error.description);
  }
}

try {
  const { url, pid } = await startNats("safe");
  const connection = await connect({ servers: url });
  const config = {
    name: "KV_APP_bench",
    subjects: ["$KV.APP_bench.>"],
    max_msgs_per_subject: 1,
    discard: "new",
    allow_direct: true,
    allow_atomic: true,
    allow_rollup_hdrs: true,
    republish: { src: "$KV.APP_bench.>", dest: "feed.APP_bench.>" },
  };
  const created = (
    await connection.request("$JS.API.STREAM.CREATE.KV_APP_bench", JSON.stringify(config))
  ).json();
  if (created.error !== undefined) throw new Error(created.error.description);
  for (let batch = 0; batch < WARM_UP_BATCHES; batch++) await publishBatch(connection, 500);
  const table = {};
  for (const size of SIZES) {
    const [startMs, startCpuMs] = [performance.now(), cpuMsOf(pid)];
    let batches = 0;
    for (; performance.now() - startMs < DURATION_MS; batches++) await publishBatch(connection, size);
    const [ms, cpuMs] = [performance.now() - startMs, cpuMsOf(pid) - startCpuMs];
    table[size] = {
      "ms per batch": Number((ms / batches).toFixed(2)),
      "messages per second": Math.round((batches * size * 1_000) / ms),
      "CPU time per message, us": Math.round((cpuMs * 1_000) / (batches * size)),
    };
  }
  console.table(table);
  console.log(`load average ${loadavg()[0].toFixed(1)}`);
  await connection.close();
} finally {
  await stopAll();
}
