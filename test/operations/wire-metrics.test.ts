/** The metrics of connections tell an attack from a bug: how connections and streams ended, and which bytes are held for clients. */
import { expect, onTestFinished } from "vitest";
import { head, INITIAL_WINDOW_SIZE, REFUSED_STREAM } from "../../packages/http2/test/frames.js";
import {
  CANCEL,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  Frame,
  frame,
  RawSession,
  setting,
  uint32,
} from "../../packages/http2/test/raw-session.js";
import { serviceTest } from "../support/fixtures.js";
import { send1 } from "../support/http-client.js";
import { scrape } from "../support/metrics.js";

const BUCKETS = "/api/v1/kv/buckets";
const VALUE_BYTES = 500_000;
const STREAMS = 20;
/** More than 30 seconds' worth of resets. */
const RESETS = 40;

const it = serviceTest({
  "streams-per-connection-max": String(STREAMS),
  "stream-resets-per-second-max": "1",
}).extend("open", ({ service }) => async (settings?: Uint8Array): Promise<RawSession> => {
  const session = await RawSession.open(service.port, settings);
  onTestFinished(() => session.close());
  return session;
});
it.beforeAll(async ({ service }) => {
  await send1(service.url, "POST", BUCKETS, { body: '{"name":"b"}' });
  await send1(service.url, "PUT", `${BUCKETS}/b/keys/large`, { body: Buffer.alloc(VALUE_BYTES) });
});

const put = head({ ":path": `${BUCKETS}/b/keys/k` }, "PUT");
const get = head({ ":path": `${BUCKETS}/b/keys/large?raw=true` }, "GET");
const watch = head({ ":path": `${BUCKETS}/b/watch?start=now`, accept: "text/event-stream" }, "GET");

it("count streams that are refused", async ({ service, open }) => {
  const refused = async (): Promise<number | undefined> =>
    (await scrape(service.url)).value("ironflow_http2_stream_resets_total", { code: "REFUSED_STREAM" });
  expect(await refused()).toBe(0);
  const session = await open();
  await session.roundTrip();
  for (let index = 0; index <= STREAMS; index++)
    session.write(frame(Frame.HEADERS, END_HEADERS, 1 + 2 * index, put));
  const reset = await session.until(({ type }) => type === Frame.RST_STREAM);
  expect(reset?.payload.readUInt32BE(0)).toBe(REFUSED_STREAM);
  expect(await refused()).toBe(1);
});

it("count connections that the service ended, and streams that clients reset", async ({ service, open }) => {
  const ended = { code: "ENHANCE_YOUR_CALM" };
  const before = await scrape(service.url);
  expect(before.value("ironflow_http2_goaways_total", ended)).toBe(0);
  const session = await open();
  for (let index = 0; index < RESETS; index++) {
    const id = 1 + 2 * index;
    session.write(frame(Frame.HEADERS, END_HEADERS, id, put), frame(Frame.RST_STREAM, 0, id, uint32(CANCEL)));
  }
  await session.closed();
  expect(session.goAwayCode).toBe(ENHANCE_YOUR_CALM);
  const { value } = await scrape(service.url);
  expect(value("ironflow_http2_goaways_total", ended)).toBe(1);
  expect(value("ironflow_http2_goaways_total")).toBe(1);
  expect(value("ironflow_http2_client_resets_total")).toBeGreaterThanOrEqual(30);
});

it("have the bytes that are held, by kind", async ({ service, open }) => {
  const held = async (kind: string): Promise<number> =>
    (await scrape(service.url)).value("ironflow_held_bytes", { kind }) ?? NaN;
  const session = await open(setting(INITIAL_WINDOW_SIZE, 0));
  session.write(
    frame(Frame.HEADERS, END_HEADERS, 1, put),
    frame(Frame.DATA, 0, 1, Buffer.alloc(16_000)),
    frame(Frame.HEADERS, END_HEADERS | END_STREAM, 3, get),
    frame(Frame.HEADERS, END_HEADERS | END_STREAM, 5, watch),
  );
  await session.answered(2);
  expect(await held("incomplete_requests")).toBeGreaterThan(16_000);
  expect(await held("unsent_responses")).toBeGreaterThanOrEqual(VALUE_BYTES);
  // The first ones wait in the response, the others in the queue of the watch.
  for (let index = 0; index < 5; index++)
    await send1(service.url, "PUT", `${BUCKETS}/b/keys/k`, { body: Buffer.alloc(VALUE_BYTES, index) });
  await expect.poll(() => held("watch_queues")).toBeGreaterThanOrEqual(VALUE_BYTES);
  session.close();
  await expect.poll(() => held("unsent_responses")).toBe(0);
  expect(await held("watch_queues")).toBe(0);
});
