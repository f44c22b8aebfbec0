/** One client with many streams, and clients that leave in the middle: what they do to other calls, to the metrics and to the log. */
import { once } from "node:events";
import { connect } from "node:net";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from "node:http2";
import { pino } from "pino";
import { expect, onTestFinished } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { send1 } from "../support/http-client.js";
import { scrape } from "../support/metrics.js";

const BUCKETS = "/api/v1/kv/buckets";
const WATCH = `${BUCKETS}/b/watch`;
const WATCHES = 1_000;

const logged: string[] = [];

const logger = pino({ level: "error" }, { write: (line) => void logged.push(line) });
const it = serviceTest({}, logger);
it.beforeAll(async ({ service }) => {
  await send1(service.url, "POST", BUCKETS, { body: '{"name":"b"}' });
});

interface Response {
  readonly stream: ClientHttp2Stream;
  readonly status: unknown;
}

async function open(
  session: ClientHttp2Session,
  fields: Record<string, string>,
  body?: string,
): Promise<Response> {
  const stream = session.request(fields, { endStream: body === undefined });
  stream.on("error", () => undefined);
  if (body !== undefined) stream.end(body);
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  stream.resume();
  return { stream, status: headers[":status"] };
}

const openWatch = (session: ClientHttp2Session): Promise<Response> =>
  open(session, { ":path": WATCH, accept: "text/event-stream" });

it("1,000 watches on one connection leave streams for calls, may end at once, and cost no other call", async ({
  service,
}) => {
  const session = connectHttp2(service.url);
  onTestFinished(() => session.destroy());
  session.on("error", () => undefined);
  const goAways: number[] = [];
  session.on("goaway", (code: number) => goAways.push(code));
  const watches = await Promise.all(Array.from({ length: WATCHES }, () => openWatch(session)));
  expect(new Set(watches.map(({ status }) => status))).toEqual(new Set([200]));
  const refused = session.request({ ":path": WATCH, accept: "text/event-stream" });
  const [headers] = (await once(refused, "response")) as [Record<string, unknown>];
  expect(headers[":status"]).toBe(429);
  let text = "";
  for await (const chunk of refused) text += String(chunk);
  expect(JSON.parse(text)).toMatchObject({ code: "too_many_watches" });
  const read = await open(session, { ":path": `${BUCKETS}/b` });
  expect(read.status).toBe(200);

  for (const { stream } of watches.slice(1)) stream.close(constants.NGHTTP2_CANCEL);
  const writes = await Promise.all(
    [1, 2, 3, 4].map((index) =>
      open(session, { ":method": "PUT", ":path": `${BUCKETS}/b/keys/w${index}` }, "value"),
    ),
  );
  expect(writes.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(goAways).toEqual([]);
  expect(session.destroyed).toBe(false);
  const { value } = await scrape(service.url);
  // Node's HTTP/2 server has no such counter.
  if (process.env.TEST_HTTP2 !== "node") {
    expect(value("ironflow_http2_client_resets_total")).toBeGreaterThanOrEqual(WATCHES - 1);
  }
});

it("a client that hangs up is no fault of the service, over every door", async ({ service }) => {
  const port = service.port;
  await send1(service.url, "PUT", `${BUCKETS}/b/keys/k`, { body: Buffer.alloc(1_000_000, "x") });
  const heldBytes = async (): Promise<number | undefined> =>
    (await scrape(service.url)).value("ironflow_held_bytes", { kind: "incomplete_requests" });
  // The head of the request for the metrics.
  const heldWhenIdle = await heldBytes();
  const grpc = { "content-type": "application/grpc", te: "trailers" };
  const put = "/ironflow.kv.v1.KeyValueService/Put";
  const requests: readonly [Record<string, string>, string | undefined][] = [
    [{ ":method": "PUT", ":path": `${BUCKETS}/b/keys/h` }, "half"],
    [{ ":method": "POST", ":path": put, ...grpc }, "\0\0\0\0\x10half"],
    [{ ":method": "POST", ":path": put, ...grpc, "grpc-encoding": "gzip" }, "\x01\0\0\0\x10half"],
    [{ ":method": "POST", ":path": put, "content-type": "application/proto" }, "half"],
    [{ ":method": "POST", ":path": put, "content-type": "application/grpc-web" }, "\0\0\0\0\x10half"],
    [
      { ":method": "POST", ":path": "/ironflow.kv.v1.BackupService/ImportEntries", ...grpc },
      "\0\0\0\0\x10half",
    ],
    [{ ":path": `${BUCKETS}/b/keys/k?raw=true` }, undefined],
    [{ ":path": WATCH, accept: "text/event-stream" }, undefined],
  ];
  for (const [fields, half] of requests) {
    for (const leave of ["reset", "disconnect"] as const) {
      const session = connectHttp2(service.url);
      session.on("error", () => undefined);
      const stream = session.request(fields, { endStream: half === undefined });
      stream.on("error", () => undefined);
      if (half !== undefined) stream.write(half, "latin1");
      await once(session, "remoteSettings");
      await new Promise<void>((resolve) => session.ping(() => resolve()));
      if (leave === "reset") stream.close(constants.NGHTTP2_CANCEL);
      await new Promise<void>((resolve) => session.ping(() => resolve()));
      session.destroy();
    }
  }
  const heads = [
    `PUT ${BUCKETS}/b/keys/h HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf`,
    `POST ${put} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\nContent-Length: 9\r\n\r\nhalf`,
    `POST ${put} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nhalf`,
    `GET ${BUCKETS}/b/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    `GET ${WATCH} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`,
  ];
  for (const head of heads) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(head);
    await once(socket, "connect");
    await send1(service.url, "GET", "/healthz");
    socket.resetAndDestroy();
  }
  const calls = async (): Promise<number | undefined> =>
    (await scrape(service.url)).value("ironflow_calls_in_flight", {});
  await expect.poll(async () => (await calls()) ?? 0).toBe(0);
  const { value } = await scrape(service.url);
  expect(value("ironflow_faults_total")).toBe(0);
  expect(await heldBytes()).toBe(heldWhenIdle);
  expect(value("ironflow_held_bytes", { kind: "unsent_responses" })).toBe(0);
  expect(logged).toEqual([]);
});
