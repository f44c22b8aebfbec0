/** REST requests as the service receives them, and its responses, over both HTTP versions. */
import { describe, expect, it } from "vitest";
import { type CreateBucketRequest } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { type DeleteRequest, type PutRequest } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { type TestAnswer, type TestRequest, send1, send2 } from "../support/http-client.js";
import {
  KEYS,
  VALUE_BYTES_MAX,
  answers,
  bridge,
  lastRequest,
  send,
  useBridge,
} from "../support/rest-answers.js";

useBridge();

const doors: readonly [
  string,
  (method: string, path: string, request?: TestRequest) => Promise<TestAnswer>,
][] = [
  ["HTTP/1.1", (method, path, request) => send1(bridge().url, method, path, request)],
  ["HTTP/2", (method, path, request) => send2(bridge().http2Url, method, path, request)],
];
describe.each(doors)("REST over %s", (_, send) => {
  it("reads a key as JSON, with all digits of its revision", async () => {
    const answer = await send("GET", `${KEYS}/k`);
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(
      '{"key":"k","value":"AP8K","revision":9223372036854775809,"created_at":"2023-11-14T22:13:20.001002003Z","operation":"put"}',
    );
    expect(answer.headers.etag).toBe('"9223372036854775809"');
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.headers["content-length"]).toBe(String(answer.bytes.length));
    expect(answer.headers.vary).toBe("Accept");
  });

  it("reads a key as bytes, with headers that keep browsers from running them", async () => {
    const answer = await send("GET", `${KEYS}/k?raw=true`);
    expect([...answer.bytes]).toEqual([0, 255, 10]);
    expect(answer.headers["content-type"]).toBe("text/html");
    expect(answer.headers["x-content-type-options"]).toBe("nosniff");
    expect(answer.headers["content-security-policy"]).toBe("default-src 'none'; sandbox");
  });

  it("writes a body's bytes and content type unchanged", async () => {
    const body = new Uint8Array([0, 1, 254]);
    const answer = await send("PUT", `${KEYS}/k`, { body, headers: { "content-type": "Image/PNG; x=1" } });
    expect([answer.status, answer.json, answer.headers.etag]).toEqual([200, { revision: 8 }, '"8"']);
    const request = lastRequest<PutRequest>();
    expect([...request.value]).toEqual([0, 1, 254]);
    expect(request.contentType).toBe("Image/PNG; x=1");
    expect(request.precondition).toBeUndefined();
  });

  it("writes an empty value", async () => {
    expect((await send("PUT", `${KEYS}/k`, { body: "" })).status).toBe(200);
    expect(lastRequest<PutRequest>().value.length).toBe(0);
  });

  it("answers HEAD as GET without the body", async () => {
    const [head, get] = [await send("HEAD", `${KEYS}/k`), await send("GET", `${KEYS}/k`)];
    expect([head.status, head.bytes.length]).toEqual([200, 0]);
    expect(head.headers["content-length"]).toBe(get.headers["content-length"]);
    expect(head.headers.etag).toBe(get.headers.etag);
  });

  it("answers 304 with the ETag and no body", async () => {
    const answer = await send("GET", `${KEYS}/k`, { headers: { "if-none-match": '"9223372036854775809"' } });
    expect([answer.status, answer.bytes.length]).toEqual([304, 0]);
    expect(answer.headers.etag).toBe('"9223372036854775809"');
  });

  it("deletes with 204 and nothing else", async () => {
    const answer = await send("DELETE", `${KEYS}/k?purge=true`, { headers: { "if-match": 'W/"7"' } });
    expect([answer.status, answer.bytes.length, answer.headers["content-type"]]).toEqual([204, 0, undefined]);
    expect(lastRequest<DeleteRequest>()).toMatchObject({
      bucket: "b",
      key: "k",
      purge: true,
      ifRevision: 7n,
    });
  });

  it("creates a bucket", async () => {
    const body = JSON.stringify({
      name: "b",
      description: "d",
      ttl_seconds: 2,
      max_value_size: 7,
      max_bytes: 2048,
      history: 3,
    });
    const answer = await send("POST", "/api/v1/kv/buckets", {
      body,
      headers: { "content-type": "application/json" },
    });
    expect([answer.status, answer.headers.location]).toEqual([201, "/api/v1/kv/buckets/b"]);
    expect(answer.text).toBe(
      '{"name":"b","description":"d","ttl_seconds":2,"max_value_size":7,"max_bytes":1152921504606846977,"values":9007199254740993,"bytes":9,"history":3,"created_at":"2023-11-14T22:13:20.001Z"}',
    );
    expect(lastRequest<CreateBucketRequest>()).toMatchObject({
      name: "b",
      description: "d",
      ttl: { seconds: 2n, nanos: 0 },
      maxValueSize: 7,
      maxBytes: 2048n,
      history: 3,
    });
  });

  it("rejects a body over the limit by its Content-Length, before it is sent", async () => {
    const headers = { "content-length": String(VALUE_BYTES_MAX + 1), expect: "100-continue" };
    const answer = await send("PUT", `${KEYS}/k`, { headers, body: new Uint8Array(VALUE_BYTES_MAX + 1) });
    expect(answer.status).toBe(413);
    expect(answer.json).toMatchObject({ code: "value_too_large" });
    expect(bridge().registry.calls).toEqual([]);
  });

  it("accepts a body of exactly the limit", async () => {
    const answer = await send("PUT", `${KEYS}/k`, { body: new Uint8Array(VALUE_BYTES_MAX) });
    expect(answer.status).toBe(200);
  });

  it("ignores the body of a GET", async () => {
    expect((await send("GET", `${KEYS}/k`, { body: "x".repeat(100_000) })).status).toBe(200);
  });

  it.each([
    [404, "route_not_found", "GET", "/api/v1/nothing"],
    [404, "route_not_found", "GET", "/api/v1/kv/buckets/"],
    [404, "route_not_found", "DELETE", "/api/v1/kv/buckets/"],
    [404, "route_not_found", "GET", "/api/v1/kv/buckets//keys"],
    [404, "route_not_found", "GET", "/api/v1/kv/buckets/b/keys?/../../x".replace("?", "x")],
    [405, "method_not_allowed", "POST", `${KEYS}/k`],
    [405, "method_not_allowed", "PUT", "/api/v1/kv/buckets/b"],
  ])("answers %i %s to %s %s", async (status, code, method, path) => {
    const answer = await send(method, path);
    expect([answer.status, answer.json]).toEqual([status, { error: expect.any(String) as string, code }]);
  });

  it("lists the methods that a path allows", async () => {
    expect((await send("POST", `${KEYS}/k`)).headers.allow).toBe("DELETE, GET, HEAD, OPTIONS, PUT");
    expect((await send("HEAD", "/api/v1/kv/buckets/b/watch")).headers.allow).toBe("GET, OPTIONS");
    const options = await send("OPTIONS", "/api/v1/kv/buckets");
    expect([options.status, options.headers.allow]).toEqual([204, "GET, HEAD, OPTIONS, POST"]);
    expect((await send("OPTIONS", "/api/v2")).status).toBe(404);
  });
});

describe("listings", () => {
  it("return all pages to a client that does not page", async () => {
    answers.pages = [["a", "b"], ["c"], ["d"]];
    expect((await send("GET", KEYS)).json).toEqual({ keys: ["a", "b", "c", "d"], count: 4 });
    expect(bridge().registry.calls.length).toBe(3);
  });

  it("return one page and the token of the next on request", async () => {
    answers.pages = [["a"], ["b"]];
    expect((await send("GET", `${KEYS}?limit=1`)).json).toEqual({
      keys: ["a"],
      count: 1,
      next_page_token: "1",
    });
    expect((await send("GET", `${KEYS}?page_token=1`)).json).toEqual({ keys: ["b"], count: 1 });
  });
});

describe("other headers", () => {
  it("passes the environment to the service, from the header or the parameter env, which must agree", async () => {
    const at = (query: string, environment?: string): Promise<TestAnswer> =>
      send("GET", `${KEYS}/k${query}`, {
        headers: environment === undefined ? {} : { "x-ironflow-environment": environment },
      });
    await at("", "staging");
    await at("?env=staging");
    await at("?env=staging", "staging");
    await at("");
    expect(bridge().registry.calls.map(({ input }) => input.header("x-ironflow-environment"))).toEqual([
      "staging",
      "staging",
      "staging",
      undefined,
    ]);
    expect((await at("?env=staging", "default")).json).toEqual({
      error: "X-Ironflow-Environment and env name different environments; set one of them.",
      code: "invalid_argument",
    });
  });

  it("passes request headers to the service", async () => {
    await send("GET", `${KEYS}/k`, { headers: { authorization: "Bearer x" } });
    const { input } = bridge().registry.calls[0] ?? {};
    expect([input?.protocol, input?.header("authorization"), input?.header("x-none")]).toEqual([
      "rest",
      "Bearer x",
      undefined,
    ]);
  });

  it("answers a watch without Accept with Upgrade Required", async () => {
    const answer = await send("GET", "/api/v1/kv/buckets/b/watch");
    expect([answer.status, answer.headers.upgrade]).toEqual([426, "websocket"]);
    expect((await send2(bridge().http2Url, "GET", "/api/v1/kv/buckets/b/watch")).status).toBe(406);
  });
});
