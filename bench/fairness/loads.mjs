// The heavy reads of the fairness benchmark, in a process of their own: runs one load over and over until it is told to end.
import { once, setMaxListeners } from "node:events";
import { SNAPSHOT_KEYS } from "./buckets.mjs";
import { call, readUntil } from "./http.mjs";

const port = Number(process.argv[2]);

const rpc = (name, message, signal) =>
  call(port, "POST", `/ironflow.kv.v1.${name}`, JSON.stringify(message), signal);

/** Reads all pages; the token is at the end of each. */
async function wholeList(name, message, signal) {
  let pageToken;
  do {
    const page = await rpc(name, { ...message, pageToken }, signal);
    const tail = page.latin1Slice(Math.max(0, page.length - 1_024));
    pageToken = /"nextPageToken":"([^"]+)"/.exec(tail)?.[1];
  } while (pageToken);
}

const list = (signal) => wholeList("KeyValueService/ListKeys", { bucket: "wide" }, signal);
const history = (signal) =>
  wholeList("KeyValueService/GetHistory", { bucket: "deep", key: "k", limit: 2 }, signal);
const count = (signal) => rpc("BucketService/GetBucket", { bucket: "wide" }, signal);
/** Writes to the bucket, so that no count of it is remembered. */
const change = (signal) =>
  call(port, "PUT", "/api/v1/kv/buckets/wide/keys/changing", Buffer.from("v"), signal);
const snapshot = (signal) =>
  readUntil(
    port,
    "/api/v1/kv/buckets/snapshot/watch?start=snapshot&snapshot_end=true",
    "snapshot_end",
    signal,
  );
const largeGet = (signal, index) =>
  call(port, "GET", `/api/v1/kv/buckets/snapshot/keys/k${index % SNAPSHOT_KEYS}?raw=true`, undefined, signal);

const many = (count, run) => (signal) =>
  Promise.all(Array.from({ length: count }, (_, index) => run(signal, index)));
const counts = many(24, count);
export const LOADS = {
  "4 lists": many(4, list),
  "24 counts": counts,
  "24 counts, changing": (signal) => change(signal).then(() => counts(signal)),
  "16 snapshots": many(16, snapshot),
  "2 histories": many(2, history),
  "32 gets of 1 MiB": many(32, largeGet),
  "all of these": (signal) =>
    Promise.all([many(4, list), counts, many(16, snapshot), many(2, history)].map((load) => load(signal))),
};

async function runLoad(name) {
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  process.once("message", () => end.abort());
  let [runs, failure] = [0, undefined];
  while (!end.signal.aborted && failure === undefined) {
    await LOADS[name](end.signal).then(
      () => runs++,
      (error) => (failure = end.signal.aborted ? undefined : String(error)),
    );
  }
  if (!end.signal.aborted) await once(end.signal, "abort");
  return { runs, failure };
}

if (process.send !== undefined && port > 0) {
  process.send("ready");
  for (;;) {
    const [name] = await once(process, "message");
    process.send(await runLoad(name));
  }
}
