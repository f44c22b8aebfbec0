/** What browsers and scripts need beyond the contract: positions in event streams, parameters of existing SDKs, calls without a body. */
import { once } from "node:events";
import { spawnSync } from "node:child_process";
import { connect as connectHttp2 } from "node:http2";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { expect } from "vitest";
import { gzipSync } from "node:zlib";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2 } from "../support/http-client.js";
import { open1, open2, readEvents } from "../support/sse-client.js";
import { spawn } from "../support/started.js";

const KEY = "the-operators-first-key";
const AUTHORIZATION = { authorization: `Bearer ${KEY}` };
const BUCKET = "/api/v1/kv/buckets/b";
const hasCurl = spawnSync("curl", ["--version"]).status === 0;

const it = serviceTest({ "api-key": KEY, "ping-interval-ms": "1000" }).extend(
  "put",
  ({ service }) =>
    (key: string): Promise<unknown> =>
      send1(service.url, "PUT", `${BUCKET}/keys/${key}`, { body: "v", headers: AUTHORIZATION }),
);
it.beforeAll(async ({ service }) => {
  await send1(service.url, "POST", "/api/v1/kv/buckets", {
    body: '{"name":"b","ttl_seconds":60}',
    headers: AUTHORIZATION,
  });
  // Nothing happens in it.
  await send1(service.url, "POST", "/api/v1/kv/buckets", {
    body: '{"name":"silent"}',
    headers: AUTHORIZATION,
  });
});

/** The last `id` once the text has this one. */
async function untilId(body: Readable, isEnough: (id: number) => boolean): Promise<number> {
  let received = "";
  for (;;) {
    const ids = [...received.matchAll(/^id: (\d+)$/gm)].map(([, id = ""]) => Number(id));
    const last = ids.at(-1);
    if (last !== undefined && isEnough(last)) return last;
    const [chunk] = (await once(body, "data")) as [Buffer];
    received += chunk.toString();
  }
}

it.for([
  ["HTTP/1.1", open1],
  ["HTTP/2", open2],
] as const)(
  "an event stream over %s says where it is at its start and while it is quiet",
  { timeout: 30_000 },
  async ([, open], { service, put }) => {
    const stream = await open(service.url, `${BUCKET}/watch?start=now&key=quiet`, AUTHORIZATION);
    const start = await untilId(stream.body, () => true);
    await put("other");
    // The keep-alive after the change of another key.
    const position = await untilId(stream.body, (id) => id > start);
    stream.leave();
    await put("quiet");
    const resumed = await open(service.url, `${BUCKET}/watch?start=now&key=quiet`, {
      ...AUTHORIZATION,
      "last-event-id": String(position),
    });
    const [event] = await readEvents(resumed.body, 1);
    expect(event?.data).toMatchObject({ type: "kv_update", key: "quiet" });
    resumed.leave();
  },
);

it("a watch takes its key and its environment from the URL, which other calls do not", async ({
  service,
}) => {
  const watch = await open1(service.url, `${BUCKET}/watch?env=default&token=${KEY}`);
  expect(watch.status).toBe(200);
  watch.leave();
  expect((await open1(service.url, `${BUCKET}/watch?env=default&token=wrong`)).status).toBe(401);
  // There is no such bucket in the other environment.
  expect((await open1(service.url, `${BUCKET}/watch?env=other&token=${KEY}`)).status).toBe(404);
  expect((await open1(service.url, `${BUCKET}/watch?env=a_b&token=${KEY}`)).status).toBe(400);
  expect((await send1(service.url, "GET", `${BUCKET}/keys/k?token=${KEY}`)).status).toBe(400);
});

it("a key is rotated without a body", async ({ service }) => {
  const created = await send1(service.url, "POST", "/api/v1/api-keys", {
    body: '{"name":"k","scopes":[{"accesses":["ACCESS_READ"],"buckets":"*"}]}',
    headers: AUTHORIZATION,
  });
  const { id } = (created.json as { api_key: { id: string } }).api_key;
  for (const send of [send1, send2]) {
    const rotated = await send(service.url, "POST", `/api/v1/api-keys/${id}/rotate`, {
      headers: AUTHORIZATION,
    });
    expect(rotated.status).toBe(200);
  }
});

it.for([
  ["application/grpc+json", "grpc-encoding"],
  ["application/grpc-web+json", "grpc-encoding"],
  ["application/connect+json", "connect-content-encoding"],
] as const)(
  "a compressed watch request in %s is answered before the first event",
  async ([type, encoding], { service }) => {
    const json = gzipSync('{"bucket":"silent","start":"START_NOW"}');
    const head = Buffer.from([1, 0, 0, 0, json.length]);
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/ironflow.kv.v1.KeyValueService/Watch",
      "content-type": type,
      [encoding]: "gzip",
      ...AUTHORIZATION,
    });
    stream.end(Buffer.concat([head, json]));
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect([headers[":status"], headers["content-type"]]).toEqual([200, type]);
    session.destroy();
  },
);

it.for([
  ["the fast path", "identity"],
  ["the stock adapter", "gzip"],
] as const)(
  "a watch ends at its deadline with DEADLINE_EXCEEDED on %s",
  async ([, encoding], { service }) => {
    const json = Buffer.from('{"bucket":"silent","start":"START_NOW"}');
    const message = encoding === "gzip" ? gzipSync(json) : json;
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/ironflow.kv.v1.KeyValueService/Watch",
      "content-type": "application/grpc+json",
      "grpc-encoding": encoding,
      "grpc-timeout": "300m",
      ...AUTHORIZATION,
    });
    stream.end(Buffer.concat([Buffer.from([encoding === "gzip" ? 1 : 0, 0, 0, 0, message.length]), message]));
    stream.resume();
    const [trailers] = (await once(stream, "trailers")) as [Record<string, unknown>];
    expect(trailers["grpc-status"]).toBe("4");
    session.destroy();
  },
);

it("an unknown gRPC method is UNIMPLEMENTED, with a content type", async ({ service }) => {
  const { status, headers } = await send2(service.url, "POST", "/ironflow.kv.v1.KeyValueService/Nothing", {
    headers: { "content-type": "application/grpc" },
    body: Buffer.alloc(5),
  });
  expect([status, headers["content-type"], headers["grpc-status"]]).toEqual([200, "application/grpc", "12"]);
});

it("a Connect GET is not cached", async ({ put, service }) => {
  await put("cached");
  const message = encodeURIComponent('{"bucket":"b","key":"cached"}');
  const path = `/ironflow.kv.v1.KeyValueService/Get?connect=v1&encoding=json&message=${message}`;
  for (const send of [send1, send2]) {
    const { status, headers } = await send(service.url, "GET", path, { headers: AUTHORIZATION });
    expect([status, headers["cache-control"]]).toEqual([200, "no-store"]);
  }
});

it.skipIf(!hasCurl)("curl over HTTP/2 sees the 413 of a body above the limit", async ({ service }) => {
  const request = ["-X", "PUT", "-H", `authorization: ${AUTHORIZATION.authorization}`, "--data-binary", "@-"];
  const output = ["-s", "-o", "/dev/null", "-w", "%{http_code}"];
  const url = `${service.url}${BUCKET}/keys/k`;
  const curl = spawn("curl", ["--http2-prior-knowledge", ...request, ...output, url], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  curl.stdin.end(Buffer.alloc(8_000_000, "x"));
  expect(await text(curl.stdout)).toBe("413");
});
