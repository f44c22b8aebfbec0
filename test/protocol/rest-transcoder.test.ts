/** The REST bridge's translation, over a registry that records: what reaches the service, and what its answers and failures look like. */
import { create } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type CreateBucketRequest,
  CreateBucketResponseSchema,
  GetBucketResponseSchema,
  type UpdateBucketRequest,
} from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  type DeleteRequest,
  type GetRequest,
  GetResponseSchema,
  type ListKeysRequest,
  ListKeysResponseSchema,
  type PutRequest,
  PutResponseSchema,
  type WatchRequest,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import {
  BucketSchema,
  EntrySchema,
  ErrorDetailSchema,
  Operation,
} from "../../gen/ironflow/kv/v1/types_pb.js";
import { startBridge, type TestBridge } from "../support/http-bridge.js";
import { send1, send2, sendBytes, type TestAnswer, type TestRequest } from "../support/http-client.js";

const KEYS = "/api/v1/kv/buckets/b/keys";
const VALUE_BYTES_MAX = 1_000;

const fullBucket = create(BucketSchema, {
  name: "b",
  description: "d",
  ttl: create(DurationSchema, { seconds: 1n, nanos: 500_000_000 }),
  maxValueSize: 7,
  maxBytes: 2n ** 60n + 1n,
  history: 3,
  values: 2n ** 53n + 1n,
  bytes: 9n,
  createdAt: create(TimestampSchema, { seconds: 1_700_000_000n, nanos: 1_000_000 }),
  revision: 4n,
  replicas: 1,
});

async function* noEvents(): AsyncGenerator<never> {
  // A watch that ends at once.
}

/** Fails with what the service fails with. */
let failure: ConnectError | Error | undefined;
let contentType = "text/html";
let pages: readonly (readonly string[])[] = [[]];

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge(
    {
      get: (request: GetRequest) => {
        if (failure !== undefined) throw failure;
        return create(GetResponseSchema, {
          entry: create(EntrySchema, {
            key: request.key,
            value: new Uint8Array([0, 255, 10]),
            revision: 2n ** 63n + 1n,
            createdAt: create(TimestampSchema, { seconds: 1_700_000_000n, nanos: 1_002_003 }),
            operation: Operation.PUT,
            contentType,
          }),
        });
      },
      put: () => {
        if (failure !== undefined) throw failure;
        return create(PutResponseSchema, { revision: 8n });
      },
      watch: () => noEvents(),
      createBucket: () => create(CreateBucketResponseSchema, { bucket: fullBucket }),
      getBucket: () =>
        create(GetBucketResponseSchema, {
          bucket: create(BucketSchema, { name: "b", history: 1, createdAt: create(TimestampSchema) }),
        }),
      listKeys: ({ pageToken }: ListKeysRequest) => {
        const page = Number(pageToken);
        return create(ListKeysResponseSchema, {
          keys: [...(pages[page] ?? [])],
          nextPageToken: page + 1 < pages.length ? String(page + 1) : "",
        });
      },
    },
    { limits: { valueBytesMax: VALUE_BYTES_MAX, messageBytesMax: VALUE_BYTES_MAX } },
  );
});
afterAll(() => bridge.close());
beforeEach(() => {
  failure = undefined;
  contentType = "text/html";
  pages = [[]];
  bridge.registry.calls.length = 0;
});

const doors: readonly [
  string,
  (method: string, path: string, request?: TestRequest) => Promise<TestAnswer>,
][] = [
  ["HTTP/1.1", (method, path, request) => send1(bridge.url, method, path, request)],
  ["HTTP/2", (method, path, request) => send2(bridge.http2Url, method, path, request)],
];
const send = (method: string, path: string, request?: TestRequest): Promise<TestAnswer> =>
  send1(bridge.url, method, path, request);

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
function lastRequest<Request>(): Request {
  return bridge.registry.calls.at(-1)?.request as Request;
}

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

  it("reads a key as bytes that no browser runs", async () => {
    const answer = await send("GET", `${KEYS}/k?raw=true`);
    expect([...answer.bytes]).toEqual([0, 255, 10]);
    expect(answer.headers["content-type"]).toBe("text/html");
    expect(answer.headers["x-content-type-options"]).toBe("nosniff");
    expect(answer.headers["content-security-policy"]).toBe("default-src 'none'; sandbox");
  });

  it("writes a body's bytes and content type as they are", async () => {
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
      ttl_seconds: 1.5,
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
      '{"name":"b","description":"d","ttl_seconds":1.5,"max_value_size":7,"max_bytes":1152921504606846977,"values":9007199254740993,"bytes":9,"history":3,"created_at":"2023-11-14T22:13:20.001Z"}',
    );
    expect(lastRequest<CreateBucketRequest>()).toMatchObject({
      name: "b",
      description: "d",
      ttl: { seconds: 1n, nanos: 500_000_000 },
      maxValueSize: 7,
      maxBytes: 2048n,
      history: 3,
    });
  });

  it("refuses a body over the limit by its length, before it is sent", async () => {
    const headers = { "content-length": String(VALUE_BYTES_MAX + 1), expect: "100-continue" };
    const answer = await send("PUT", `${KEYS}/k`, { headers, body: new Uint8Array(VALUE_BYTES_MAX + 1) });
    expect(answer.status).toBe(413);
    expect(answer.json).toMatchObject({ code: "value_too_large" });
    expect(bridge.registry.calls).toEqual([]);
  });

  it("takes a body of exactly the limit", async () => {
    const answer = await send("PUT", `${KEYS}/k`, { body: new Uint8Array(VALUE_BYTES_MAX) });
    expect(answer.status).toBe(200);
  });

  it("ignores a body that comes with GET", async () => {
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

  it("says which methods a path allows", async () => {
    expect((await send("POST", `${KEYS}/k`)).headers.allow).toBe("DELETE, GET, HEAD, OPTIONS, PUT");
    expect((await send("HEAD", "/api/v1/kv/buckets/b/watch")).headers.allow).toBe("GET, OPTIONS");
    const options = await send("OPTIONS", "/api/v1/kv/buckets");
    expect([options.status, options.headers.allow]).toEqual([204, "GET, HEAD, OPTIONS, POST"]);
    expect((await send("OPTIONS", "/api/v2")).status).toBe(404);
  });
});

describe("keys in paths", () => {
  it.each([
    ["a/b", "a/b"],
    ["a%2Fb", "a/b"],
    ["a%2fb", "a/b"],
    ["%252F", "%2F"],
    ["a%25b", "a%b"],
    ["..", ".."],
    ["../../x", "../../x"],
    ["a/./b", "a/./b"],
    ["a/../b", "a/../b"],
    ["%2e%2e/x", "../x"],
    ["/a", "/a"],
    ["a//b", "a//b"],
    ["a/", "a/"],
    ["%00", "\0"],
    ["", ""],
    ["a+b", "a+b"],
    ["a%20b", "a b"],
    ["user:1@x;y,z", "user:1@x;y,z"],
    ["%C3%A4%F0%9F%98%80", "ä😀"],
    ["*", "*"],
    ["%3E", ">"],
    ["%3Fa%23b", "?a#b"],
  ])("takes %j for the key %j", async (path, key) => {
    await send("GET", `${KEYS}/${path}`);
    expect(lastRequest<GetRequest>()).toMatchObject({ bucket: "b", key });
  });

  it.each(["%", "%2", "%zz", "%C3", "%ED%A0%80", "%C0%AF", "%FF"])("refuses %j", async (path) => {
    const answer = await send("GET", `${KEYS}/${path}`);
    expect([answer.status, answer.json]).toEqual([
      400,
      {
        error: `The key in the path is "${path}"; it takes percent-encoded UTF-8.`,
        code: "invalid_argument",
      },
    ]);
    expect(bridge.registry.calls).toEqual([]);
  });

  it("refuses bytes that should have been encoded", async () => {
    const request = Buffer.from(
      `GET ${KEYS}/\xe4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      "latin1",
    );
    expect(await sendBytes(bridge.port, request)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it.each(["[", "a b", "x:y:z", "%", ""])("survives the host %j", async (host) => {
    const request = `GET ${KEYS}/k HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    expect(await sendBytes(bridge.port, request)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("takes the absolute form of a target", async () => {
    const request = `GET http://x:1${KEYS}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    expect(await sendBytes(bridge.port, request)).toMatch(/^HTTP\/1\.1 200 /);
    expect(lastRequest<GetRequest>().key).toBe("k");
  });
});

describe("query parameters", () => {
  it("reach the request's fields", async () => {
    await send("GET", `${KEYS}?filter=a.*&filter=b%2Ec&filters=d+e&limit=7&page_token=t%2B`);
    expect(lastRequest<ListKeysRequest>()).toMatchObject({
      filters: ["a.*", "b.c", "d e"],
      limit: 7,
      pageToken: "t+",
    });
    await send("GET", `${KEYS}/k?revision=18446744073709551615`);
    expect(lastRequest<GetRequest>().revision).toBe(2n ** 64n - 1n);
  });

  it.each([
    [
      "GET",
      `${KEYS}?limt=1`,
      'There is no parameter "limt"; this call takes filter, filters, limit, page_token.',
    ],
    ["GET", `${KEYS}?limit=x`, 'limit is "x"; it takes a whole number from 0 to 4294967295.'],
    ["GET", `${KEYS}?limit=-1`, 'limit is "-1"; it takes a whole number from 0 to 4294967295.'],
    ["GET", `${KEYS}?limit=1.5`, 'limit is "1.5"; it takes a whole number from 0 to 4294967295.'],
    ["GET", `${KEYS}?limit=`, 'limit is ""; it takes a whole number from 0 to 4294967295.'],
    [
      "GET",
      `${KEYS}?limit=4294967296`,
      'limit is "4294967296"; it takes a whole number from 0 to 4294967295.',
    ],
    ["GET", `${KEYS}?limit=1&limit=2`, "limit is given twice; it takes one value."],
    ["GET", `${KEYS}?filter=%zz`, 'The query has "filter=%zz"; it takes percent-encoded UTF-8.'],
    ["GET", `${KEYS}/k?revision=18446744073709551616`, "revision is"],
    ["GET", `${KEYS}/k?raw=yes`, 'raw is "yes"; it takes true or false.'],
    ["GET", `${KEYS}/k?key=x`, 'There is no parameter "key"; this call takes raw, revision.'],
    ["DELETE", `${KEYS}/k?purge`, 'purge is ""; it takes true or false.'],
    ["DELETE", `${KEYS}/k?if_revision=1`, "this call takes purge."],
    ["PUT", `${KEYS}/k?ttl=1`, "this call takes none."],
    ["GET", "/api/v1/kv/buckets/b?x", 'There is no parameter "x"; this call takes none.'],
    ["GET", "/api/v1/kv/buckets/b/watch?start=later", "it takes one of unspecified, snapshot, now, history."],
    ["GET", "/api/v1/kv/buckets/b/watch?progress=often", "it takes a span of time such as 500ms, 5s or 1m."],
    [
      "GET",
      "/api/v1/kv/buckets/b/watch?bucket_created_at=today",
      "it takes a time such as 2026-01-31T12:00:00Z.",
    ],
  ])("%s %s is refused", async (method, path, sentence) => {
    const answer = await send(method, path, { headers: { accept: "text/event-stream" } });
    expect(answer.status).toBe(400);
    expect((answer.json as { error: string }).error).toContain(sentence);
    expect(bridge.registry.calls).toEqual([]);
  });

  it.each<[string, object]>([
    ["", { start: 0, startRevision: 0n, filters: [] }],
    ["initial=false", { start: 2 }],
    ["initial=true", { start: 0 }],
    ["start=HISTORY", { start: 3 }],
    ["start=start_now", { start: 2 }],
    ["start_revision=5&initial=false", { start: 0, startRevision: 5n }],
    ["key=a.*&key=b", { filters: ["a.*", "b"] }],
    ["progress=true", { progressInterval: { seconds: 15n } }],
    ["progress=1.5s", { progressInterval: { seconds: 1n, nanos: 500_000_000 } }],
    ["progress=2m", { progressInterval: { seconds: 120n, nanos: 0 } }],
    ["ignore_deletes=1&keys_only=0", { ignoreDeletes: true, keysOnly: false }],
    ["bucket_created_at=2023-11-14T22:13:20Z", { bucketCreatedAt: { seconds: 1_700_000_000n } }],
  ])("a watch takes %j", async (query, expected) => {
    await send("GET", `/api/v1/kv/buckets/b/watch?${query}`, { headers: { accept: "text/event-stream" } });
    expect(lastRequest<WatchRequest>()).toMatchObject(expected);
  });
});

describe("listings", () => {
  it("collect every page for a client that asks for none", async () => {
    pages = [["a", "b"], ["c"], ["d"]];
    expect((await send("GET", KEYS)).json).toEqual({ keys: ["a", "b", "c", "d"], count: 4 });
    expect(bridge.registry.calls.length).toBe(3);
  });

  it("give one page, and the token of the next, when asked", async () => {
    pages = [["a"], ["b"]];
    expect((await send("GET", `${KEYS}?limit=1`)).json).toEqual({
      keys: ["a"],
      count: 1,
      next_page_token: "1",
    });
    expect((await send("GET", `${KEYS}?page_token=1`)).json).toEqual({ keys: ["b"], count: 1 });
  });
});

describe("conditions", () => {
  it.each([
    ["7", 7n],
    ['"7"', 7n],
    ['W/"7"', 7n],
    [' "7" ', 7n],
    ["18446744073709551615", 2n ** 64n - 1n],
  ])("If-Match %j is a revision", async (ifMatch, revision) => {
    await send("PUT", `${KEYS}/k`, { body: "x", headers: { "if-match": ifMatch } });
    expect(lastRequest<PutRequest>().precondition?.condition).toEqual({
      case: "ifRevision",
      value: revision,
    });
  });

  it("If-None-Match * is a create", async () => {
    await send("PUT", `${KEYS}/k`, { body: "x", headers: { "if-none-match": "*" } });
    expect(lastRequest<PutRequest>().precondition?.condition).toEqual({ case: "ifAbsent", value: true });
  });

  it.each<[string, Record<string, string>]>([
    ["PUT", { "if-match": "*" }],
    ["PUT", { "if-match": "abc" }],
    ["PUT", { "if-match": '"7' }],
    ["PUT", { "if-match": "'7'" }],
    ["PUT", { "if-match": "0" }],
    ["PUT", { "if-match": "-1" }],
    ["PUT", { "if-match": "1.0" }],
    ["PUT", { "if-match": '"1", "2"' }],
    ["PUT", { "if-match": "18446744073709551616" }],
    ["PUT", { "if-match": "" }],
    ["PUT", { "if-none-match": '"7"' }],
    ["PUT", { "if-match": "7", "if-none-match": "*" }],
    ["DELETE", { "if-match": "*" }],
    ["DELETE", { "if-none-match": "*" }],
  ])("%s with %j is refused", async (method, headers) => {
    const answer = await send(method, `${KEYS}/k`, { body: "x", headers });
    expect([answer.status, answer.json]).toMatchObject([400, { code: "invalid_argument" }]);
    expect(bridge.registry.calls).toEqual([]);
  });

  it.each([
    ["*", 304],
    ["9223372036854775809", 304],
    ['W/"9223372036854775809"', 304],
    ['"1", "x", "9223372036854775809"', 304],
    ['"9223372036854775808"', 200],
    ['"abc"', 200],
    ["", 200],
  ])("GET with If-None-Match %j is %i", async (header, status) => {
    expect((await send("GET", `${KEYS}/k`, { headers: { "if-none-match": header } })).status).toBe(status);
  });

  it.each([
    ["*", 200],
    ['"9223372036854775809"', 200],
    ['"1"', 412],
  ])("GET with If-Match %j is %i", async (header, status) => {
    expect((await send("GET", `${KEYS}/k`, { headers: { "if-match": header } })).status).toBe(status);
  });
});

describe("the form of a value", () => {
  it.each([
    [undefined, "", "json"],
    ["*/*", "", "json"],
    ["text/html,*/*;q=0.8", "", "json"],
    ["application/json", "", "json"],
    ["application/octet-stream", "", "bytes"],
    ["Application/Octet-Stream", "", "bytes"],
    ["application/octet-stream, */*", "", "bytes"],
    ["application/octet-stream;q=0.5, application/json", "", "json"],
    ["application/octet-stream, application/json;q=0.5", "", "bytes"],
    ["application/octet-stream;q=0", "", "json"],
    ["application/octet-stream", "?raw=false", "json"],
    ["application/json", "?raw=true", "bytes"],
  ])("Accept %j with %j gives %s", async (accept, query, form) => {
    const answer = await send("GET", `${KEYS}/k${query}`, {
      headers: accept === undefined ? {} : { accept },
    });
    expect(answer.json === undefined ? "bytes" : "json").toBe(form);
  });

  it.each(["", "bad\r\nset-cookie: x=1", "tëxt"])(
    "a stored content type of %j is shown as bytes",
    async (stored) => {
      contentType = stored;
      const answer = await send("GET", `${KEYS}/k?raw=true`);
      expect(answer.headers["content-type"]).toBe("application/octet-stream");
      expect(answer.headers["set-cookie"]).toBeUndefined();
    },
  );

  it("stores no content type when none is sent", async () => {
    await send("PUT", `${KEYS}/k`, { body: "x" });
    expect(lastRequest<PutRequest>().contentType).toBe("");
  });
});

describe("JSON bodies", () => {
  const json = { "content-type": "application/json" };
  const post = (body: string | Uint8Array, headers: Record<string, string> = json): Promise<TestAnswer> =>
    send("POST", "/api/v1/kv/buckets", { body, headers });

  it.each([
    ["", "The body is empty"],
    ["{", "not JSON"],
    ["[]", "no object"],
    ["null", "no object"],
    ['"b"', "no object"],
    ['{"name":7}', "name is 7; it takes text."],
    [
      '{"nme":"b"}',
      'The body has "nme"; it takes name, description, ttl_seconds, max_value_size, max_bytes, history.',
    ],
    ['{"name":"b","__proto__":1}', 'The body has "__proto__"'],
    ['{"name":"b","constructor":1}', 'The body has "constructor"'],
    ['{"name":"b","ttl":"5s"}', 'The body has "ttl"'],
    ['{"name":"b","ttl_seconds":"5"}', 'ttl_seconds is "5"; it takes a number of seconds'],
    ['{"name":"b","ttl_seconds":-1}', "ttl_seconds is -1; it takes"],
    ['{"name":"b","ttl_seconds":0.0001}', "ttl_seconds is 0.0001; it takes"],
    ['{"name":"b","ttl_seconds":1e300}', "it takes a number of seconds"],
    ['{"name":"b","history":1.5}', "history is 1.5; it takes a whole number from 0 to 4294967295."],
    ['{"name":"b","history":true}', "history is true; it takes a whole number"],
    ['{"name":"b","max_value_size":4294967296}', "it takes a whole number from 0 to 4294967295."],
    ['{"name":"b","max_bytes":9007199254740992}', "it takes a whole number from 0 to 9007199254740991."],
    ['{"name":"b","max_bytes":-1}', "it takes a whole number"],
  ])("%j is refused", async (body, sentence) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    expect((answer.json as { error: string }).error).toContain(sentence);
    expect(bridge.registry.calls).toEqual([]);
  });

  it("refuses a body that is not UTF-8", async () => {
    expect((await post(Buffer.from('{"name":"\xe4"}', "latin1"))).status).toBe(400);
  });

  it("takes null for what is not set in a creation, and refuses it in a change", async () => {
    expect((await post('{"name":"b","description":null,"ttl_seconds":null}')).status).toBe(201);
    const answer = await send("PATCH", "/api/v1/kv/buckets/b", {
      body: '{"ttl_seconds":null}',
      headers: json,
    });
    expect(answer.status).toBe(400);
  });

  it("changes only what the body names", async () => {
    await send("PATCH", "/api/v1/kv/buckets/b", {
      body: '{"description":"","ttl_seconds":0}',
      headers: json,
    });
    const request = lastRequest<UpdateBucketRequest>();
    expect(request).toMatchObject({ bucket: "b", description: "", ttl: { seconds: 0n } });
    expect([request.maxBytes, request.maxValueSize, request.history]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it.each([
    ["application/json; charset=utf-8", 201],
    ["application/merge-patch+json", 201],
    ["text/plain;charset=UTF-8", 201],
    ["application/x-www-form-urlencoded", 201],
    ["application/xml", 415],
    ["multipart/form-data; boundary=x", 415],
  ])("the content type %s gives %i", async (type, status) => {
    expect((await post('{"name":"b"}', { "content-type": type })).status).toBe(status);
  });

  it("takes a body without a content type", async () =>
    expect((await post('{"name":"b"}', {})).status).toBe(201));

  it("leaves what is not set out of a bucket", async () => {
    const answer = await send("GET", "/api/v1/kv/buckets/b");
    expect(answer.text).toBe(
      '{"name":"b","values":0,"bytes":0,"history":1,"created_at":"1970-01-01T00:00:00.000Z"}',
    );
  });
});

describe("bodies", () => {
  it("refuses a compressed one", async () => {
    const answer = await send("PUT", `${KEYS}/k`, { body: "x", headers: { "content-encoding": "gzip" } });
    expect([answer.status, answer.headers["accept-encoding"]]).toEqual([415, "identity"]);
  });

  it("counts one of unknown length as it is read", async () => {
    const chunk = `${(600).toString(16)}\r\n${"x".repeat(600)}\r\n`;
    const head = `PUT ${KEYS}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n`;
    expect(await sendBytes(bridge.port, `${head}${chunk}${chunk}0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 413 /);
    expect(bridge.registry.calls).toEqual([]);
    expect(await sendBytes(bridge.port, `${head}${chunk}0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("lets the connection be used again after a body that was refused", async () => {
    const refused = `PUT ${KEYS}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n${"x".repeat(200_000)}`;
    const next = `GET ${KEYS}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    const answers = await sendBytes(bridge.port, refused + next);
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"]);
  });

  it("asks for one with 100 Continue, and not for one that it refuses", async () => {
    const head = (path: string): string =>
      `PUT ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`;
    expect(await sendBytes(bridge.port, `${head(`${KEYS}/k`)}x`)).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /,
    );
    expect(await sendBytes(bridge.port, `${head("/api/no")}x`)).toMatch(/^HTTP\/1\.1 404 /);
  });

  it("writes nothing of one that breaks off over HTTP/1.1", async () => {
    const socket = connectSocket(bridge.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(`PUT ${KEYS}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc`);
    socket.end();
    await once(socket.resume(), "close");
    expect(bridge.registry.calls).toEqual([]);
  });

  it("writes nothing of one that is reset over HTTP/2", async () => {
    const session = connectHttp2(bridge.http2Url);
    const stream = session.request({ ":method": "PUT", ":path": `${KEYS}/k`, "content-length": "10" });
    stream.on("error", () => undefined);
    await new Promise<void>((resolve) => stream.write("abc", () => resolve()));
    stream.close(8);
    await once(stream, "close");
    // A call on the same connection is behind the reset.
    const next = session.request({ ":path": "/api/v1/kv/buckets/b" });
    await once(next.resume(), "end");
    session.close();
    expect(bridge.registry.calls.map(({ name }) => name)).toEqual(["getBucket"]);
  });
});

describe("failures of the service", () => {
  const detail = (reason: string, revision = 0n, retryAfterSeconds?: bigint) => ({
    desc: ErrorDetailSchema,
    value: create(ErrorDetailSchema, {
      reason,
      revision,
      ...(retryAfterSeconds === undefined
        ? {}
        : { retryAfter: create(DurationSchema, { seconds: retryAfterSeconds, nanos: 1 }) }),
    }),
  });

  it.each<[string, Code, number, Record<string, string>]>([
    ["invalid_argument", Code.InvalidArgument, 400, {}],
    ["bucket_not_found", Code.NotFound, 404, {}],
    ["key_not_found", Code.NotFound, 404, {}],
    ["bucket_exists", Code.AlreadyExists, 409, {}],
    ["key_exists", Code.AlreadyExists, 412, { etag: '"5"' }],
    ["revision_mismatch", Code.Aborted, 412, { etag: '"5"' }],
    ["revision_compacted", Code.OutOfRange, 400, {}],
    ["revision_in_future", Code.OutOfRange, 400, {}],
    ["value_too_large", Code.ResourceExhausted, 413, {}],
    ["bucket_full", Code.ResourceExhausted, 507, {}],
    ["storage_exhausted", Code.ResourceExhausted, 507, {}],
    ["rate_limited", Code.ResourceExhausted, 429, { "retry-after": "1" }],
    ["too_many_watches", Code.ResourceExhausted, 429, { "retry-after": "1" }],
    ["unauthenticated", Code.Unauthenticated, 401, { "www-authenticate": "Bearer" }],
    ["permission_denied", Code.PermissionDenied, 403, {}],
    ["unavailable", Code.Unavailable, 503, { "retry-after": "1" }],
    ["shutting_down", Code.Unavailable, 503, { "retry-after": "1" }],
    ["deadline_exceeded", Code.DeadlineExceeded, 504, {}],
    ["outcome_unknown", Code.Unknown, 500, {}],
    ["unimplemented", Code.Unimplemented, 501, {}],
    ["internal", Code.Internal, 500, {}],
    ["a_reason_of_the_future", Code.NotFound, 404, {}],
  ])("%s is answered", async (reason, code, status, headers) => {
    failure = new ConnectError('It "failed".', code, undefined, [detail(reason, 5n)]);
    const answer = await send("GET", `${KEYS}/k`);
    expect([answer.status, answer.json]).toEqual([status, { error: 'It "failed".', code: reason }]);
    expect(answer.headers).toMatchObject(headers);
  });

  it("passes the time to wait on, in whole seconds", async () => {
    failure = new ConnectError("Later.", Code.ResourceExhausted, undefined, [detail("rate_limited", 0n, 3n)]);
    expect((await send("GET", `${KEYS}/k`)).headers["retry-after"]).toBe("4");
  });

  it("hides what nobody foresaw, and logs it", async () => {
    failure = new TypeError("secret");
    const answer = await send("GET", `${KEYS}/k`);
    expect([answer.status, answer.text.includes("secret")]).toEqual([500, false]);
    expect(bridge.faults.splice(0)).toEqual([failure]);
  });
});

describe("other headers", () => {
  it("accepts the default environment only", async () => {
    const at = (environment: string): Promise<TestAnswer> =>
      send("GET", `${KEYS}/k`, { headers: { "x-ironflow-environment": environment } });
    expect((await at("default")).status).toBe(200);
    expect((await at("staging")).json).toEqual({
      error: 'X-Ironflow-Environment is "staging"; there is only "default".',
      code: "invalid_argument",
    });
    expect((await at("")).status).toBe(400);
  });

  it("hands request headers to the service", async () => {
    await send("GET", `${KEYS}/k`, { headers: { authorization: "Bearer x" } });
    const { input } = bridge.registry.calls[0] ?? {};
    expect([input?.door, input?.header("authorization"), input?.header("x-none")]).toEqual([
      "rest",
      "Bearer x",
      undefined,
    ]);
  });

  it("asks a watch without Accept for an upgrade", async () => {
    const answer = await send("GET", "/api/v1/kv/buckets/b/watch");
    expect([answer.status, answer.headers.upgrade]).toEqual([426, "websocket"]);
    expect((await send2(bridge.http2Url, "GET", "/api/v1/kv/buckets/b/watch")).status).toBe(406);
  });
});
