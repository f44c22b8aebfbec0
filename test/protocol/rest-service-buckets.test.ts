/** The REST tables of the design, line by line, against a real service: buckets and listings. */
import { describe, expect, it } from "vitest";
import { send1 } from "../support/http-client.js";
import {
  bucket,
  BUCKETS,
  createBucket,
  expectError,
  get,
  keyPath,
  put,
  remove,
  revisionOf,
  RFC_3339,
  send,
  useRestService,
} from "../support/rest-service.js";
import { freshName, startTestService } from "../support/service.js";

useRestService();

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
      ttl_seconds: 2,
      max_value_size: 100,
      max_bytes: 1_000_000,
      history: 5,
    };
    const { status, json } = await createBucket(settings);
    expect(status).toBe(201);
    expect(json).toMatchObject({ ...settings, values: 0, bytes: 0 });
  });

  it("answers 409 for one that exists, and leaves its config unchanged", async () => {
    expectError(await createBucket({ name: bucket(), history: 9 }), 409, "bucket_exists");
    expectError(await createBucket({ name: bucket() }), 409, "bucket_exists");
    expect((await send("GET", `${BUCKETS}/${bucket()}`)).json).toMatchObject({ history: 1 });
  });

  it.each([
    [{}, "invalid_argument"],
    [{ name: "" }, "invalid_argument"],
    [{ name: "a.b" }, "invalid_argument"],
    [{ name: "x".repeat(65) }, "invalid_argument"],
    [{ name: "SYS_x" }, "reserved_name"],
    [{ name: "ok", history: 65 }, "invalid_argument"],
    ...[0.5, 1.5, 59.999, 1e-9, -1, 1e300, "60", "1.5", true, [60]].map((ttl): [object, string] => [
      { name: "ok", ttl_seconds: ttl },
      "invalid_argument",
    ]),
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
    expect(names).toContain(bucket());
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

  it("reports the exact number of live keys", async () => {
    for (const key of ["a", "b", "c"]) await put(key, "x");
    await put("a", "y");
    await remove("b");
    const { json } = await send("GET", `${BUCKETS}/${bucket()}`);
    expect(json).toMatchObject({ name: bucket(), values: 2 });
    expect((json as { bytes: number }).bytes).toBeGreaterThan(0);
  });

  it("updates the fields in the body", async () => {
    const body = JSON.stringify({ description: "new", history: 4 });
    const { status, json } = await send("PATCH", `${BUCKETS}/${bucket()}`, { body });
    expect([status, json]).toMatchObject([200, { description: "new", history: 4 }]);
    const cleared = await send("PATCH", `${BUCKETS}/${bucket()}`, { body: '{"description":""}' });
    expect(cleared.json).not.toHaveProperty("description");
    expect(cleared.json).toMatchObject({ history: 4 });
  });

  it("deletes with 204, then 404", async () => {
    const deleted = await send("DELETE", `${BUCKETS}/${bucket()}`);
    expect([deleted.status, deleted.bytes.length]).toEqual([204, 0]);
    for (const method of ["GET", "DELETE"]) {
      expectError(await send(method, `${BUCKETS}/${bucket()}`), 404, "bucket_not_found");
    }
    expectError(await send("PATCH", `${BUCKETS}/${bucket()}`, { body: "{}" }), 404, "bucket_not_found");
  });
});

describe("keys", () => {
  it("are listed sorted by their bytes, and by filters", async () => {
    for (const key of ["b", "a.x", "a.y", "Z", "%C3%A4", "a.x.1"]) await put(key, "v");
    const keys = async (query: string): Promise<unknown> =>
      (await send("GET", `${BUCKETS}/${bucket()}/keys${query}`)).json;
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
      const { json } = await send("GET", `${BUCKETS}/${bucket()}/keys${query}`);
      const page = json as { keys: string[]; count: number; next_page_token?: string };
      expect(page.count).toBe(page.keys.length);
      found.push(...page.keys);
      if (page.next_page_token === undefined) break;
      query = `?limit=2&page_token=${encodeURIComponent(page.next_page_token)}`;
    }
    expect(found).toEqual(["a", "b", "c"]);
  });

  it("of a missing bucket are 404", async () => {
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
    expect((await send("GET", `${BUCKETS}/${bucket()}/keys`)).json).toEqual({ keys: [key], count: 1 });
    expect((await remove(path)).status).toBe(204);
    expect((await get(path)).status).toBe(404);
  });

  it("that differ only in percent-encoding are the same", async () => {
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

describe("the service's API key", () => {
  it("is required: without it, calls get 401", async () => {
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
