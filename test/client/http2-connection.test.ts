/** The connections of Node's transport: GOAWAY, refused streams, resets, dead peers. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { constants } from "node:http2";
import { expect, it } from "vitest";
import {
  createClient,
  type ClientOptions,
  KvTimeoutError,
  KvUnavailableError,
} from "../../packages/client/src/index-node.js";
import { Http2Peer, type HeldGet, startSilentPeer } from "./http2-peer.js";
import { refusal } from "./support.js";

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

/** Gets of one client, without retries of the SDK: what the transport does alone. */
function open(url: string, options: ClientOptions = {}): (key: string) => Promise<string> {
  const bucket = createClient({ serverUrl: url, retry: false, ...options })
    .kv()
    .bucket("b");
  return async (key) => (await bucket.get(key)).text();
}

/** Starts Gets and waits until the peer holds them, in their order. */
async function hold(peer: Http2Peer, get: (key: string) => Promise<string>, keys: readonly string[]) {
  const calls = keys.map((key) => get(key));
  const held: HeldGet[] = [];
  while (held.length < keys.length) held.push(await peer.next());
  return { calls, held };
}

it("sends calls again that a GOAWAY excludes, and completes the others on the old connection", async () => {
  const peer = await Http2Peer.start();
  const { calls, held } = await hold(peer, open(peer.url), ["a", "b", "c"]);
  // Stream ids are 1, 3 and 5.
  held[0]?.session.goaway(NGHTTP2_NO_ERROR, 1);
  const again = [await peer.next(), await peer.next()];
  expect(again.map(({ key }) => key)).toEqual(["b", "c"]);
  expect(again.map(({ session }) => session)).toEqual([peer.sessions[1], peer.sessions[1]]);
  for (const get of [held[0], ...again]) get?.answer();
  expect(await Promise.all(calls)).toEqual(["a", "b", "c"]);
  expect(peer.sessions).toHaveLength(2);
  await peer.stop();
});

it("opens a new connection for calls after a GOAWAY, while the old one completes its calls", async () => {
  const peer = await Http2Peer.start();
  const get = open(peer.url);
  const { calls, held } = await hold(peer, get, ["a"]);
  held[0]?.session.goaway(NGHTTP2_NO_ERROR);
  await once(peer.sessions[0] as never, "goaway").catch(() => undefined);
  const later = get("later");
  const second = await peer.next();
  held[0]?.answer();
  second.answer();
  expect(await Promise.all([...calls, later])).toEqual(["a", "later"]);
  await peer.stop();
});

it("fails calls that a GOAWAY with an error may have reached, and sends the others again", async () => {
  const peer = await Http2Peer.start();
  const { calls, held } = await hold(peer, open(peer.url), ["a", "b"]);
  const first = refusal(calls[0] ?? Promise.resolve(), KvUnavailableError, { reason: "connection_lost" });
  held[0]?.session.goaway(NGHTTP2_ENHANCE_YOUR_CALM, 1);
  const again = await peer.next();
  again.answer();
  await first;
  expect([again.key, await calls[1]]).toEqual(["b", "b"]);
  await peer.stop();
});

it("reports a refused stream as not processed, and does not send it again on the same connection", async () => {
  const peer = await Http2Peer.start();
  const get = open(peer.url);
  const { calls: warm, held: answered } = await hold(peer, get, ["warm"]);
  answered[0]?.answer();
  await warm[0];
  const { calls, held } = await hold(peer, get, ["a"]);
  held[0]?.stream.close(NGHTTP2_REFUSED_STREAM);
  await refusal(calls[0] ?? Promise.resolve(), KvUnavailableError, { reason: "connection_failed" });
  await peer.stop();
});

it.each([
  ["with an error code", NGHTTP2_ENHANCE_YOUR_CALM],
  ["with NO_ERROR", NGHTTP2_NO_ERROR],
])("fails a call whose stream is reset %s before the response is complete", async (_, code) => {
  const peer = await Http2Peer.start();
  const { calls, held } = await hold(peer, open(peer.url), ["a"]);
  const stream = held[0]?.stream;
  stream?.respond({ ":status": 200, "content-type": "application/proto", "content-length": 100 });
  stream?.write(Buffer.alloc(10));
  const failed = refusal(calls[0] ?? Promise.resolve(), KvUnavailableError, { reason: "connection_lost" });
  stream?.close(code);
  await failed;
  await peer.stop();
});

it("resets the stream of a call whose time is up: CANCEL, after the deadline that it sent", async () => {
  const peer = await Http2Peer.start();
  const call = refusal(open(peer.url, { timeoutMs: 60 })("a"), KvTimeoutError, { reason: "timed_out" });
  const { stream, headers } = await peer.next();
  const closed = once(stream, "close");
  await call;
  await closed;
  expect(stream.rstCode).toBe(NGHTTP2_CANCEL);
  expect(Number(headers["connect-timeout-ms"])).toBeLessThanOrEqual(60);
  await peer.stop();
});

it("resets the stream of a call that is aborted: CANCEL", async () => {
  const peer = await Http2Peer.start();
  const controller = new AbortController();
  const bucket = createClient({ serverUrl: peer.url }).kv().bucket("b");
  const call = bucket.get("a", { signal: controller.signal });
  const { stream } = await peer.next();
  const closed = once(stream, "close");
  const reason = new Error("enough");
  controller.abort(reason);
  await expect(call).rejects.toBe(reason);
  await closed;
  expect(stream.rstCode).toBe(NGHTTP2_CANCEL);
  await peer.stop();
});

it("opens another connection when the server accepts no more streams, and queues calls beyond the last one", async () => {
  const peer = await Http2Peer.start({ maxConcurrentStreams: 2 });
  const get = open(peer.url, { http2: { connectionsMax: 2 } });
  const warm = get("warm");
  (await peer.next()).answer();
  await warm;
  const { calls, held } = await hold(peer, get, ["a", "b", "c", "d"]);
  const queued = get("e");
  expect(peer.sessions).toHaveLength(2);
  for (const one of held) one.answer();
  (await peer.next()).answer();
  expect(await Promise.all([...calls, queued])).toEqual(["a", "b", "c", "d", "e"]);
  expect(peer.sessions).toHaveLength(2);
  await peer.stop();
});

it("fails calls at once when the server closes its side of the connection, and connects again", async () => {
  const sockets: Socket[] = [];
  const peer = await startSilentPeer((socket) => sockets.push(socket));
  const get = open(peer.url);
  for (const count of [1, 2]) {
    const call = refusal(get("a"), KvUnavailableError, { reason: "connection_lost" });
    while (sockets.length < count) await new Promise((resolve) => setImmediate(resolve));
    sockets.at(-1)?.end();
    await call;
  }
  await peer.stop();
});

it("closes a connection whose peer answers no pings, and fails its calls", async () => {
  const peer = await startSilentPeer();
  const get = open(peer.url, { http2: { pingIntervalMs: 10, pingTimeoutMs: 10 } });
  const error = await refusal(get("a"), KvUnavailableError, { reason: "connection_lost" });
  expect(error.message).toContain("did not answer a ping within 10 ms");
  await peer.stop();
});

it("replaces a connection that is dead after a call's time is up", async () => {
  const sockets: Socket[] = [];
  const peer = await startSilentPeer((socket) => sockets.push(socket));
  const get = open(peer.url, { timeoutMs: 50, http2: { pingIntervalMs: 600_000, pingTimeoutMs: 10 } });
  await refusal(get("a"), KvTimeoutError);
  const [socket] = sockets;
  if (socket !== undefined && !socket.destroyed) await once(socket, "close");
  await refusal(get("a"), KvTimeoutError);
  expect(sockets).toHaveLength(2);
  await peer.stop();
});

it("says that nothing was sent when the time is up before there is a connection", async () => {
  // A server that accepts no connection: its queue is full, or packets are lost.
  const peer = await startSilentPeer();
  const bucket = createClient({ serverUrl: peer.url.replace("http:", "https:"), retry: false })
    .kv()
    .bucket("b");
  await refusal(bucket.put("k", "v", { timeoutMs: 50 }), KvUnavailableError, { reason: "connection_failed" });
  await peer.stop();
});

it("rejects a call whose response is malformed", async () => {
  const peer = await Http2Peer.start();
  const { calls, held } = await hold(peer, open(peer.url, { retry: false }), ["a"]);
  held[0]?.stream.respond({ ":status": 200, "content-type": "application/proto" });
  held[0]?.stream.end(Buffer.from([0x0a, 0xff]));
  await expect(calls[0]).rejects.toThrow("The response is malformed");
  await peer.stop();
});
