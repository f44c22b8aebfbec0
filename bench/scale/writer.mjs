// Puts keys at a steady rate until it is told to stop, in a process of its own. Arguments: URL, "service" or "etcd", writes a second.
import { connect } from "node:http2";
import { field, unary } from "./etcd.mjs";
import { keyOf, VALUE } from "./keys.mjs";

const [url, kind, rate] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const isEtcd = kind === "etcd";
const path = isEtcd ? "/etcdserverpb.KV/Put" : "/ironflow.kv.v1.KeyValueService/Put";
const putOf = (key) =>
  Buffer.concat(
    isEtcd ? [field(1, key), field(2, VALUE)] : [field(1, "big"), field(2, key), field(3, VALUE)],
  );
const TICK_MS = 10;
const session = connect(url);
let [isOver, sent, failed, next] = [false, 0, 0, 0];
const startMs = performance.now();
const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - startMs) / 1_000) * rate);
  for (; sent < due; sent++) {
    next = (next + 7_919) % 1_000_000;
    unary(session, path, putOf(keyOf(next))).catch(() => {
      if (!isOver) failed++;
    });
  }
}, TICK_MS);
process.on("message", () => {
  isOver = true;
  clearInterval(timer);
  process.send({ perSecond: Math.round((sent * 1_000) / (performance.now() - startMs)), failed });
  session.destroy();
  process.disconnect();
});
process.send("ready");
