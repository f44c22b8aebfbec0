/**
 * The SDK from one end to the other: buckets, values, conditional writes, history, and a watch.
 *
 *   npm run build && npm start &
 *   node dist/examples/sdk.js
 *
 * IRONFLOW_SERVER names another service, IRONFLOW_API_KEY its key.
 */
import { createClient, KvConflictError, KvNotFoundError } from "ironflow-kv";

const ironflow = createClient({ serverUrl: process.env.IRONFLOW_SERVER ?? "http://127.0.0.1:9123" });
const kv = ironflow.kv();

const info = await kv.createBucket({ name: "sessions", ttlSeconds: 3600, history: 5 });
console.log(`made ${info.name}: entries live ${info.ttlSeconds} s, ${info.history} revisions each`);

const buckets = await kv.listBuckets();
console.log(`buckets: ${buckets.map((one) => one.name).join(", ")}`);

const bucket = kv.bucket("sessions");
await bucket.put("user:123", { name: "Alice" }); // objects as JSON, strings and Uint8Array as bytes
const entry = await bucket.get("user:123");
console.log(`user:123 is ${entry.text()} at revision ${entry.revision}`);

// Only one of two writers wins: the other learns the current revision, and decides anew.
const { revision } = await bucket.create("user.1", "v");
await bucket.update("user.1", "v2", revision);
try {
  await bucket.update("user.1", "v3", revision);
} catch (error) {
  if (!(error instanceof KvConflictError)) throw error;
  console.log(`too late: user.1 is at revision ${error.currentRevision}, not ${revision}`);
}

const keys = await bucket.listKeys("user.*");
const history = await bucket.history("user.1");
console.log(`keys: ${keys.join(", ")}; user.1 was ${history.map((one) => one.text()).join(", then ")}`);

const stats = await kv.getBucketInfo("sessions");
console.log(`${stats.values} keys in ${stats.bytes > 0 ? "some" : "no"} bytes`);

// A watch gives the present values, then each change. It ends with its signal, and resumes by itself otherwise.
const controller = new AbortController();
for await (const event of bucket.watch("user.>", { signal: controller.signal })) {
  console.log(`${event.type} ${event.key}${event.type === "put" ? ` = ${event.text()}` : ""}`);
  if (event.type === "put") await bucket.delete(event.key);
  else controller.abort();
}

await bucket.purge("user:123");
const gone = await bucket.get("user:123").catch((error: unknown) => error);
console.log(gone instanceof KvNotFoundError ? "user:123 is gone" : "user:123 is still there");

await kv.deleteBucket("sessions");
