/**
 * A tour of the SDK: buckets, values, conditional writes, history and a watch.
 *
 *   npm run build && npm start &
 *   node dist/examples/sdk.js
 *
 * Set IRONFLOW_SERVER to use another service, and IRONFLOW_API_KEY if it requires a key.
 */
import { createClient, KvConflictError, KvNotFoundError } from "@ironflow-kv/client";

const ironflow = createClient({ serverUrl: process.env.IRONFLOW_SERVER ?? "http://127.0.0.1:9123" });
const kv = ironflow.kv();

const info = await kv.createBucket({ name: "sessions", ttlSeconds: 3600, history: 5 });
console.log(`created ${info.name}: entries live ${info.ttlSeconds} s, ${info.history} revisions per key`);

const buckets = await kv.listBuckets();
console.log(`buckets: ${buckets.map((one) => one.name).join(", ")}`);

const bucket = kv.bucket("sessions");
await bucket.put("user:123", { name: "Alice" }); // objects as JSON, strings and Uint8Array as bytes
const entry = await bucket.get("user:123"); // entry.value bytes; entry.json(), entry.text(); entry.revision
console.log(`user:123 is ${entry.text()} at revision ${entry.revision}`);

// If two writers update the same revision, one succeeds. The other gets the current revision and can decide again.
const { revision } = await bucket.create("k", "v");
await bucket.update("k", "v2", revision);
try {
  await bucket.update("k", "v3", revision);
} catch (error) {
  if (!(error instanceof KvConflictError)) throw error;
  console.log(`conflict: k is at revision ${error.currentRevision}, not ${revision}`);
}
await bucket.delete("k");
const history = await bucket.history("k");
console.log(`k was ${history.map((one) => (one.operation === "put" ? one.text() : "deleted")).join(", ")}`);
await bucket.purge("k");

await bucket.put("user.7", "Bob");
const keys = await bucket.listKeys("user.*");
const stats = await kv.getBucketInfo("sessions"); // stats.values keys, stats.bytes bytes
console.log(`${keys.join(", ")}: ${keys.length} of ${stats.values} keys`);

// A watch emits the current values, then each change. It resumes automatically until its signal aborts.
const controller = new AbortController();
const { signal } = controller;
for await (const event of bucket.watch("user.>", { signal })) {
  console.log(`${event.type} ${event.key}${event.type === "put" ? ` = ${event.text()}` : ""}`);
  if (event.type === "put") await bucket.delete(event.key);
  else controller.abort();
}

const result = await bucket.get("user.7").catch((error: unknown) => error);
console.log(result instanceof KvNotFoundError ? "user.7 was deleted" : "user.7 still exists");

await kv.deleteBucket("sessions");
