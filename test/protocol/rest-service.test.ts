/** The REST tables of the design, line by line, against a real service. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { send1, type TestAnswer, type TestRequest } from "../support/http-client.js";

const BUCKETS = "/api/v1/kv/buckets";
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3}|\.\d{9})Z$/;

let service: TestService;
let bucket: string;
beforeAll(async () => {
  service = await startTestService();
}, 60_000);
afterAll(() => service.remove());
beforeEach(async () => {
  bucket = freshName("rest");
  expect((await createBucket({ name: bucket })).status).toBe(201);
});

const send = (method: string, path: string, request?: TestRequest): Promise<TestAnswer> =>
  send1(service.url, method, path, request);

function createBucket(settings: object): Promise<TestAnswer> {
  return send("POST", BUCKETS, {
    body: JSON.stringify(settings),
    headers: { "content-type": "application/json" },
  });
}

const keyPath = (key: string): string => `${BUCKETS}/${bucket}/keys/${key}`;
const get = (key: string, headers: Record<string, string> = {}): Promise<TestAnswer> =>
  send("GET", keyPath(key), { headers });
const put = (
  key: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<TestAnswer> => send("PUT", keyPath(key), { body, headers });
const remove = (key: string, headers: Record<string, string> = {}): Promise<TestAnswer> =>
  send("DELETE", keyPath(key), { headers });

/** The revision of a write that must go well. */
async function revisionOf(answer: Promise<TestAnswer>): Promise<number> {
  const { status, json, headers } = await answer;
  expect(status).toBe(200);
  const { revision } = json as { revision: number };
  expect(headers.etag).toBe(`"${revision}"`);
  expect(json).toEqual({ revision: expect.any(Number) as number });
  return revision;
}

function expectError(answer: TestAnswer, status: number, code: string): void {
  expect([answer.status, answer.json]).toEqual([status, { error: expect.any(String) as string, code }]);
}

describe("POST /buckets", () => {
  it("answers 201 with the bucket, and only what was set", async () => {
    const name = freshName("rest");
    const { status, json, headers } = await createBucket({ name });
    expect([status, headers.location]).toEqual([201, `${BUCKETS}/${name}`]);
    expect(json).toEqual({
      name,
      values: 0,
      bytes: 0,
      history: 1,
      created_at: expect.stringMatching(RFC_3339) as string,
    });
  });

  it("answers with every setting", async () => {
    const settings = {
      name: freshName("rest"),
      description: "about",
      ttl_seconds: 1.5,
      max_value_size: 100,
      max_bytes: 1_000_000,
      history: 5,
    };
    const { status, json } = await createBucket(settings);
    expect(status).toBe(201);
    expect(json).toMatchObject({ ...settings, values: 0, bytes: 0 });
  });

  it("answers 409 for one that exists, whatever its config, which stays", async () => {
    expectError(await createBucket({ name: bucket, history: 9 }), 409, "bucket_exists");
    expectError(await createBucket({ name: bucket }), 409, "bucket_exists");
    expect((await send("GET", `${BUCKETS}/${bucket}`)).json).toMatchObject({ history: 1 });
  });

  it.each([
    [{}, "invalid_argument"],
    [{ name: "" }, "invalid_argument"],
    [{ name: "a.b" }, "invalid_argument"],
    [{ name: "x".repeat(65) }, "invalid_argument"],
    [{ name: "SYS_x" }, "reserved_name"],
    [{ name: "ok", history: 65 }, "invalid_argument"],
    [{ name: "ok", ttl_seconds: 0.5 }, "invalid_argument"],
    [{ name: "ok", max_bytes: 1 }, "invalid_argument"],
  ])("answers 400 to %j", async (settings, code) => expectError(await createBucket(settings), 400, code));
});

describe("GET, PATCH and DELETE of buckets", () => {
  it("lists them, sorted, with their count", async () => {
    const { status, json } = await send("GET", BUCKETS);
    const { buckets, count } = json as { buckets: { name: string }[]; count: number };
    const names = buckets.map(({ name }) => name);
    expect([status, count]).toEqual([200, names.length]);
    expect(names).toEqual([...names].sort());
    expect(names).toContain(bucket);
    expect(Object.keys(json as object)).toEqual(["buckets", "count"]);
  });

  it("lists them in pages when asked", async () => {
    const first = (await send("GET", `${BUCKETS}?limit=1`)).json as {
      count: number;
      next_page_token: string;
    };
    expect(first.count).toBe(1);
    const next = await send(
      "GET",
      `${BUCKETS}?limit=1&page_token=${encodeURIComponent(first.next_page_token)}`,
    );
    expect((next.json as { count: number }).count).toBe(1);
  });

  it("tells the number of live keys exactly", async () => {
    for (const key of ["a", "b", "c"]) await put(key, "x");
    await put("a", "y");
    await remove("b");
    const { json } = await send("GET", `${BUCKETS}/${bucket}`);
    expect(json).toMatchObject({ name: bucket, values: 2 });
    expect((json as { bytes: number }).bytes).toBeGreaterThan(0);
  });

  it("changes what the body names", async () => {
    const body = JSON.stringify({ description: "new", history: 4 });
    const { status, json } = await send("PATCH", `${BUCKETS}/${bucket}`, { body });
    expect([status, json]).toMatchObject([200, { description: "new", history: 4 }]);
    const cleared = await send("PATCH", `${BUCKETS}/${bucket}`, { body: '{"description":""}' });
    expect(cleared.json).not.toHaveProperty("description");
    expect(cleared.json).toMatchObject({ history: 4 });
  });

  it("deletes with 204, then 404", async () => {
    const deleted = await send("DELETE", `${BUCKETS}/${bucket}`);
    expect([deleted.status, deleted.bytes.length]).toEqual([204, 0]);
    for (const method of ["GET", "DELETE"]) {
      expectError(await send(method, `${BUCKETS}/${bucket}`), 404, "bucket_not_found");
    }
    expectError(await send("PATCH", `${BUCKETS}/${bucket}`, { body: "{}" }), 404, "bucket_not_found");
  });
});

describe("keys", () => {
  it("are listed sorted by their bytes, and by filters", async () => {
    for (const key of ["b", "a.x", "a.y", "Z", "%C3%A4", "a.x.1"]) await put(key, "v");
    const keys = async (query: string): Promise<unknown> =>
      (await send("GET", `${BUCKETS}/${bucket}/keys${query}`)).json;
    expect(await keys("")).toEqual({ keys: ["Z", "a.x", "a.x.1", "a.y", "b", "ä"], count: 6 });
    expect(await keys("?filter=a.*")).toEqual({ keys: ["a.x", "a.y"], count: 2 });
    expect(await keys("?filter=a.%3E&filter=Z")).toEqual({ keys: ["Z", "a.x", "a.x.1", "a.y"], count: 4 });
    expect(await keys("?filter=nothing")).toEqual({ keys: [], count: 0 });
  });

  it("are paged on request", async () => {
    for (const key of ["a", "b", "c"]) await put(key, "v");
    const found: string[] = [];
    let query = "?limit=2";
    for (;;) {
      const { json } = await send("GET", `${BUCKETS}/${bucket}/keys${query}`);
      const page = json as { keys: string[]; count: number; next_page_token?: string };
      expect(page.count).toBe(page.keys.length);
      found.push(...page.keys);
      if (page.next_page_token === undefined) break;
      query = `?limit=2&page_token=${encodeURIComponent(page.next_page_token)}`;
    }
    expect(found).toEqual(["a", "b", "c"]);
  });

  it("of a bucket that is not there are 404", async () => {
    const nowhere = `${BUCKETS}/${freshName("none")}/keys`;
    expectError(await send("GET", nowhere), 404, "bucket_not_found");
    expectError(await send("GET", `${nowhere}/k`), 404, "bucket_not_found");
    expectError(await send("PUT", `${nowhere}/k`, { body: "x" }), 404, "bucket_not_found");
    expectError(await send("DELETE", `${nowhere}/k`), 404, "bucket_not_found");
  });

  it.each([
    "user.1",
    "user:1",
    "a/b",
    "a%2Fb",
    "..",
    "../x",
    "a//b",
    "/a",
    "a/",
    ".a.",
    "%2A",
    "%3E",
    "a b".replace(" ", "%20"),
    "%F0%9F%98%80",
    "%252F",
    "%3D3A",
    "b=",
    "x".repeat(512),
  ])("%j is written, read, listed and deleted", async (path) => {
    const key = decodeURIComponent(path);
    const revision = await revisionOf(put(path, "v"));
    expect((await get(path)).json).toMatchObject({ key, revision });
    expect((await send("GET", `${BUCKETS}/${bucket}/keys`)).json).toEqual({ keys: [key], count: 1 });
    expect((await remove(path)).status).toBe(204);
    expect((await get(path)).status).toBe(404);
  });

  it("that differ in encoding alone are one", async () => {
    await put("a/b", "1");
    expect((await get("a%2Fb")).json).toMatchObject({ key: "a/b", value: "MQ==" });
    expect((await get("a%252Fb")).status).toBe(404);
  });

  it.each(["", "%00", "a%0Ab", "%7F", "x".repeat(513)])("%j is refused", async (path) => {
    for (const method of ["GET", "PUT", "DELETE"]) {
      expectError(await send(method, keyPath(path), { body: "x" }), 400, "invalid_argument");
    }
  });
});

describe("GET of a key", () => {
  it("answers exactly key, value, revision, created_at and operation", async () => {
    const revision = await revisionOf(put("k", new Uint8Array([0, 255, 10])));
    const { status, json, headers } = await get("k");
    expect([status, headers.etag]).toEqual([200, `"${revision}"`]);
    expect(json).toEqual({
      key: "k",
      value: "AP8K",
      revision,
      created_at: expect.stringMatching(RFC_3339) as string,
      operation: "put",
    });
  });

  it("answers 404 for a key that is absent, deleted or purged", async () => {
    expectError(await get("k"), 404, "key_not_found");
    await put("k", "x");
    await remove("k");
    expectError(await get("k"), 404, "key_not_found");
    await put("k", "x");
    await send("DELETE", `${keyPath("k")}?purge=true`);
    expectError(await get("k"), 404, "key_not_found");
  });

  it("answers 304 for the current ETag, and 200 for an older one", async () => {
    const first = await revisionOf(put("k", "1"));
    const second = await revisionOf(put("k", "2"));
    const same = await get("k", { "if-none-match": `"${second}"` });
    expect([same.status, same.bytes.length, same.headers.etag]).toEqual([304, 0, `"${second}"`]);
    expect((await get("k", { "if-none-match": `"${first}"` })).status).toBe(200);
  });

  it("answers an earlier revision while it is kept", async () => {
    await send("PATCH", `${BUCKETS}/${bucket}`, { body: '{"history":2}' });
    const revisions = [
      await revisionOf(put("k", "1")),
      await revisionOf(put("k", "2")),
      await revisionOf(put("k", "3")),
    ];
    const at = (revision: number): Promise<TestAnswer> => send("GET", `${keyPath("k")}?revision=${revision}`);
    expect((await at(revisions[1] ?? 0)).json).toMatchObject({ value: "Mg==", revision: revisions[1] });
    expectError(await at(revisions[0] ?? 0), 400, "revision_compacted");
    expectError(await at((revisions[2] ?? 0) + 1), 400, "revision_in_future");
  });

  it("answers the bytes with the stored content type", async () => {
    const bytes = new Uint8Array([1, 2, 3]);
    await put("k", bytes, { "content-type": "image/png" });
    const byAccept = await get("k", { accept: "application/octet-stream" });
    const byQuery = await send("GET", `${keyPath("k")}?raw=true`);
    for (const answer of [byAccept, byQuery]) {
      expect([...answer.bytes]).toEqual([1, 2, 3]);
      expect(answer.headers["content-type"]).toBe("image/png");
    }
    await put("k", bytes);
    expect((await send("GET", `${keyPath("k")}?raw=true`)).headers["content-type"]).toBe(
      "application/octet-stream",
    );
  });
});

describe("PUT of a key", () => {
  it("stores a body of any content type as it is", async () => {
    for (const type of [
      "application/json",
      "text/plain; charset=latin1",
      "application/x-www-form-urlencoded",
    ]) {
      await revisionOf(put("k", '{"a": 1}', { "content-type": type }));
      expect((await send("GET", `${keyPath("k")}?raw=true`)).text).toBe('{"a": 1}');
    }
  });

  it("stores an empty value", async () => {
    await revisionOf(put("k", ""));
    expect((await get("k")).json).toMatchObject({ value: "" });
  });

  it("creates with If-None-Match: *, also after a delete", async () => {
    const revision = await revisionOf(put("k", "1", { "if-none-match": "*" }));
    const refused = await put("k", "2", { "if-none-match": "*" });
    expectError(refused, 412, "key_exists");
    expect(refused.headers.etag).toBe(`"${revision}"`);
    await remove("k");
    await revisionOf(put("k", "3", { "if-none-match": "*" }));
  });

  it.each([
    (revision: number) => `${revision}`,
    (revision: number) => `"${revision}"`,
    (revision: number) => `W/"${revision}"`,
  ])("updates with If-Match (form %#)", async (form) => {
    const first = await revisionOf(put("k", "1"));
    await revisionOf(put("k", "2", { "if-match": form(first) }));
    expectError(await put("k", "3", { "if-match": form(first) }), 412, "revision_mismatch");
    expect((await get("k")).json).toMatchObject({ value: "Mg==" });
  });

  it("answers 412 to If-Match on a key that is absent", async () => {
    expectError(await put("k", "1", { "if-match": '"1"' }), 412, "revision_mismatch");
    expect((await get("k")).status).toBe(404);
  });

  it("answers 413 to a value over the service's or the bucket's limit", async () => {
    expectError(await put("k", new Uint8Array(1_048_577)), 413, "value_too_large");
    await revisionOf(put("k", new Uint8Array(1_048_576)));
    await send("PATCH", `${BUCKETS}/${bucket}`, { body: '{"max_value_size":10}' });
    expectError(await put("k", new Uint8Array(11)), 413, "value_too_large");
    await revisionOf(put("k", new Uint8Array(10)));
  });

  it("answers 507 when the bucket is full", async () => {
    bucket = freshName("full");
    expect((await createBucket({ name: bucket, max_bytes: 2_048 })).status).toBe(201);
    expectError(await put("k", new Uint8Array(4_096)), 507, "bucket_full");
  });
});

describe("DELETE of a key", () => {
  it("is idempotent", async () => {
    await put("k", "x");
    for (let time = 0; time < 3; time++) expect((await remove("k")).status).toBe(204);
    expect((await remove("never")).status).toBe(204);
  });

  it("leaves the history, and with purge does not", async () => {
    await send("PATCH", `${BUCKETS}/${bucket}`, { body: '{"history":5}' });
    const history = async (): Promise<TestAnswer> => send("GET", `${BUCKETS}/${bucket}/history/k`);
    const revision = await revisionOf(put("k", "1", { "content-type": "text/plain" }));
    await remove("k");
    expect((await history()).json).toEqual({
      key: "k",
      entries: [
        {
          revision,
          operation: "put",
          value: "MQ==",
          created_at: expect.stringMatching(RFC_3339) as string,
          content_type: "text/plain",
        },
        {
          revision: revision + 1,
          operation: "delete",
          value: "",
          created_at: expect.stringMatching(RFC_3339) as string,
        },
      ],
      count: 2,
    });
    await put("k", "2");
    expect((await send("DELETE", `${keyPath("k")}?purge=true`)).status).toBe(204);
    const after = await history();
    const { entries } = after.json as { entries: { operation: string }[] };
    expect(entries.map(({ operation }) => operation)).toEqual(["purge"]);
  });

  it("honours If-Match", async () => {
    const first = await revisionOf(put("k", "1"));
    const second = await revisionOf(put("k", "2"));
    expectError(await remove("k", { "if-match": `"${first}"` }), 412, "revision_mismatch");
    expect((await get("k")).status).toBe(200);
    expect((await remove("k", { "if-match": `"${second}"` })).status).toBe(204);
    expectError(await remove("gone", { "if-match": '"1"' }), 412, "revision_mismatch");
  });
});

describe("the key of the service", () => {
  it("is asked for with 401", async () => {
    const locked = await startTestService({ "api-key": "0123456789abcdef" });
    try {
      const refused = await send1(locked.url, "GET", BUCKETS);
      expectError(refused, 401, "unauthenticated");
      expect(refused.headers["www-authenticate"]).toBe("Bearer");
      const headers = { authorization: "Bearer 0123456789abcdef" };
      expect((await send1(locked.url, "GET", BUCKETS, { headers })).status).toBe(200);
    } finally {
      await locked.remove();
    }
  });
});
