// The buckets of the fairness benchmark: the callers' own, and those that the loads read.
import { connect } from "@nats-io/transport-node";
import { call } from "./http.mjs";

const MEBIBYTE = 1_048_576;
const LARGE_BYTES = MEBIBYTE - 1_024;
export const CALLERS = 16;
export const SNAPSHOT_KEYS = 40;
export const HISTORY = 64;

/** Creates and fills them: most messages are published directly to NATS. */
export async function fillBuckets(port, natsUrl, wideKeys) {
  const connection = await connect({ servers: natsUrl });
  const stored = async (bucket, count) => {
    for (;;) {
      const info = await connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`, "", { timeout: 20_000 });
      if (info.json().state.last_seq >= count) return;
    }
  };
  const write = async (bucket, history, count, key, value) => {
    await call(port, "POST", "/api/v1/kv/buckets", JSON.stringify({ name: bucket, history }));
    const unconfirmedMax = Math.max(1, Math.floor((16 * MEBIBYTE) / (value.length + 100)));
    for (let index = 0; index < count; index++) {
      connection.publish(`$KV.APP_${bucket}.${key(index)}`, value);
      if (index % unconfirmedMax === unconfirmedMax - 1) await stored(bucket, index + 1);
    }
    await stored(bucket, count);
  };
  const large = Buffer.alloc(LARGE_BYTES, "x");
  await write("quiet", 1, CALLERS, (index) => `w${index}`, "v");
  await write("wide", 1, wideKeys, (index) => `some.longer.key.${index}`, "v");
  await write("snapshot", 1, SNAPSHOT_KEYS, (index) => `k${index}`, large);
  await write("deep", HISTORY, HISTORY, () => "k", large);
  await connection.close();
}
