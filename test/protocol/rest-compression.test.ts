/** Compressed REST responses, and the ETags that go with them. */
import { gunzipSync } from "node:zlib";
import { describe, expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2, type TestAnswer, type TestRequest } from "../support/http-client.js";

const BUCKET = "/api/v1/kv/buckets/b";
const LONG = "long ".repeat(1_000);
/** More than fit into one page. */
const KEYS = 250;
const GZIP = { "accept-encoding": "gzip" };

const withService = serviceTest({ "page-bytes-max": "16384" }).extend(
  "put",
  { scope: "file" },
  ({ service }) =>
    (key: string, body: string | Buffer, type: string): Promise<TestAnswer> =>
      send1(service.url, "PUT", `${BUCKET}/keys/${key}`, { body, headers: { "content-type": type } }),
);
withService.beforeAll(async ({ service, put }) => {
  await send1(service.url, "POST", "/api/v1/kv/buckets", { body: '{"name":"b"}' });
  await put("long", LONG, "text/plain");
  await put("short", "short", "text/plain");
  const kv = createClient({ serverUrl: service.url }).kv().bucket("b");
  await Promise.all(
    Array.from({ length: KEYS }, (_, index) => kv.put(`list/${String(index).padStart(100, "0")}`, "v")),
  );
});

describe.each([
  ["HTTP/1.1", send1],
  ["HTTP/2", send2],
])("over %s", (_version, send) => {
  const it = withService.extend(
    "get",
    ({ service }) =>
      (path: string, headers: TestRequest["headers"] = GZIP): Promise<TestAnswer> =>
        send(service.url, "GET", `${BUCKET}${path}`, { headers }),
  );

  it.for([
    ["JSON", "/keys/long"],
    ["bytes", "/keys/long?raw=true"],
    ["a history", "/history/long"],
  ] as const)("%s above 1 KiB is compressed when asked for", async ([, path], { get }) => {
    const plain = await get(path, {});
    expect(plain.headers["content-encoding"]).toBeUndefined();
    const answer = await get(path);
    expect(answer.headers["content-encoding"]).toBe("gzip");
    expect(answer.headers["content-length"]).toBe(String(answer.bytes.length));
    expect(answer.bytes.length).toBeLessThan(plain.bytes.length / 2);
    expect(gunzipSync(answer.bytes)).toEqual(plain.bytes);
    for (const { headers } of [plain, answer]) expect(headers.vary).toMatch(/Accept-Encoding/);
  });

  it.for(["identity", "gzip;q=0", "br", "", "*;q=0", "gzip;q=0, *"])(
    "nothing is compressed for Accept-Encoding: %j",
    async (accepted, { get }) => {
      const { headers, text } = await get("/keys/long?raw=true", { "accept-encoding": accepted });
      expect([headers["content-encoding"], text]).toEqual([undefined, LONG]);
    },
  );

  it.for(["gzip, deflate", "br, GZIP;q=0.5", "*"])(
    "is compressed for Accept-Encoding: %j",
    async (accepted, { get }) => {
      const { headers } = await get("/keys/long", { "accept-encoding": accepted });
      expect(headers["content-encoding"]).toBe("gzip");
    },
  );

  it("a short answer and a value that is compressed already are not compressed", async ({ put, get }) => {
    await put("picture", Buffer.alloc(5_000), "image/png");
    for (const path of ["/keys/short", "/keys/picture?raw=true"]) {
      const { headers } = await get(path);
      expect(headers["content-encoding"]).toBeUndefined();
    }
  });

  it("the encoded form has a weak ETag, which conditions accept", async ({ get, service }) => {
    const plain = await get("/keys/long", {});
    const { headers } = await get("/keys/long");
    expect(headers.etag).toBe(`W/${plain.headers.etag ?? ""}`);
    const etag = headers.etag ?? "";
    expect((await get("/keys/long", { ...GZIP, "if-none-match": etag })).status).toBe(304);
    const write = (condition: string): Promise<TestAnswer> =>
      send(service.url, "PUT", `${BUCKET}/keys/long`, { body: LONG, headers: { "if-match": condition } });
    expect((await write(etag)).status).toBe(200);
    expect((await write(etag)).status).toBe(412);
  });

  it("HEAD has the fields of GET", async ({ get, service }) => {
    const { headers } = await get("/keys/long");
    const head = await send(service.url, "HEAD", `${BUCKET}/keys/long`, { headers: GZIP });
    expect(head.bytes).toHaveLength(0);
    for (const name of ["content-encoding", "content-length", "etag", "vary"])
      expect(head.headers[name]).toBe(headers[name]);
  });

  it("a list of several pages is compressed as it is streamed", async ({ get }) => {
    const plain = await get("/keys?filter=list/*", {});
    expect(plain.headers["content-length"]).toBeUndefined();
    const answer = await get("/keys?filter=list/*");
    expect([answer.headers["content-encoding"], answer.headers["content-length"]]).toEqual([
      "gzip",
      undefined,
    ]);
    expect(gunzipSync(answer.bytes)).toEqual(plain.bytes);
    expect((JSON.parse(plain.text) as { count: number }).count).toBe(KEYS);
  });
});
