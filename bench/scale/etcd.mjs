// etcd over plain HTTP/2: filling it, and the requests that h2load repeats (etcd's rpc.proto).
import { connect } from "node:http2";
import { once } from "node:events";

const GRPC = { "content-type": "application/grpc", te: "trailers" };
const PUTS_PER_TXN = 128;
const TXNS_AT_ONCE = 16;

/** A gRPC frame. */
export function grpcFrame(message) {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
}

function varint(number) {
  const bytes = [];
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
  return Buffer.from([...bytes, number]);
}

/** A length-delimited field. */
export function field(number, content) {
  const bytes = Buffer.from(content);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

export function number(fieldNumber, value) {
  return Buffer.concat([varint(fieldNumber * 8), varint(value)]);
}

/** Range over all keys of a prefix: the first `limit` keys without values, or only their count. */
export function rangeCall(first, last, { limit = 0, countOnly = false }) {
  const message = Buffer.concat([
    field(1, first),
    field(2, last),
    ...(limit > 0 ? [number(3, limit), number(8, 1)] : []),
    ...(countOnly ? [number(9, 1)] : []),
  ]);
  return { path: "/etcdserverpb.KV/Range", headers: GRPC, body: grpcFrame(message) };
}

/** One unary call; resolves when it was answered with status 0. */
export async function unary(session, path, message) {
  const stream = session.request({ ":method": "POST", ":path": path, ...GRPC });
  stream.end(grpcFrame(message));
  let status;
  stream.on("trailers", (trailers) => (status = trailers["grpc-status"]));
  stream.on("response", (headers) => (status ??= headers["grpc-status"]));
  stream.resume();
  await once(stream, "end");
  if (status !== "0") throw new Error(`${path}: status ${status}`);
}

/** Writes the keys with these values. */
export async function fillEtcd(port, keys, value) {
  const session = connect(`http://127.0.0.1:${port}`);
  let next = 0;
  const work = async () => {
    while (next < keys.length) {
      const part = keys.slice(next, (next += PUTS_PER_TXN));
      const operations = part.map((key) =>
        field(2, field(2, Buffer.concat([field(1, key), field(2, value)]))),
      );
      await unary(session, "/etcdserverpb.KV/Txn", Buffer.concat(operations));
    }
  };
  await Promise.all(Array.from({ length: TXNS_AT_ONCE }, work));
  session.close();
}
