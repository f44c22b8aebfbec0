/** ETags over two copies of the service: those of a bucket that was deleted and recreated are not those of the new one. */
import { describe, expect } from "vitest";
import { copiesTest } from "../support/fixtures.js";
import { send1, send2, type TestAnswer } from "../support/http-client.js";
import { freshName, type TestService } from "../support/service.js";

const BUCKETS = "/api/v1/kv/buckets";
const TAG = /^"(\d+)-[0-9a-z]+"$/;

const withService = copiesTest()
  .extend("one", { scope: "file" }, ({ service }) => service)
  .extend("other", { scope: "file" }, ({ startCopy }) => startCopy())
  .extend("bucket", () => freshName("incarnation"));

describe.each([
  ["HTTP/1.1", send1],
  ["HTTP/2", send2],
])("over %s", (_, send) => {
  const it = withService
    .extend(
      "key",
      ({ bucket }) =>
        (): string =>
          `${BUCKETS}/${bucket}/keys/k`,
    )
    .extend(
      "get",
      ({ one, key }) =>
        (headers: Record<string, string> = {}): Promise<TestAnswer> =>
          send(one.url, "GET", key(), { headers }),
    )
    .extend(
      "put",
      ({ one, key }) =>
        (body: string, headers: Record<string, string> = {}): Promise<TestAnswer> =>
          send(one.url, "PUT", key(), { body, headers }),
    )
    .extend(
      "remove",
      ({ one, key }) =>
        (headers: Record<string, string>): Promise<TestAnswer> =>
          send(one.url, "DELETE", key(), { headers }),
    )
    .extend("create", ({ bucket, key }) => async (service: TestService, value: string): Promise<void> => {
      const body = JSON.stringify({ name: bucket });
      const headers = { "content-type": "application/json" };
      expect((await send(service.url, "POST", BUCKETS, { body, headers })).status).toBe(201);
      expect((await send(service.url, "PUT", key(), { body: value })).status).toBe(200);
    })
    /** The ETag of a key at revision 1 whose bucket was then recreated, and has another value at revision 1. */
    .extend("oldTag", ({ create, one, get, other, bucket }) => async (): Promise<string> => {
      await create(one, "old");
      const { etag } = (await get()).headers;
      expect((await send(other.url, "DELETE", `${BUCKETS}/${bucket}`)).status).toBe(204);
      await create(other, "new");
      return etag ?? "";
    })
    .extend("value", ({ get }) => async (): Promise<string> => {
      const { json } = await get();
      return Buffer.from((json as { value: string }).value, "base64").toString();
    });

  it("a tag has the revision, and is the same for a read and the write before it", async ({
    create,
    one,
    put,
    get,
    remove,
  }) => {
    await create(one, "old");
    const written = await put("v");
    expect(TAG.exec(written.headers.etag ?? "")?.[1]).toBe("2");
    const read = await get();
    expect(read.headers.etag).toBe(written.headers.etag);
    const same = await get({ "if-none-match": read.headers.etag ?? "" });
    expect([same.status, same.headers.etag]).toEqual([304, read.headers.etag]);
    expect((await put("w", { "if-match": read.headers.etag ?? "" })).status).toBe(200);
    expect((await put("x", { "if-match": `W/"3-${(read.headers.etag ?? "").slice(3)}` })).status).toBe(200);
    expect((await remove({ "if-match": (await get()).headers.etag ?? "" })).status).toBe(204);
  });

  it.for<[string, (tag: string) => string]>([
    ["a tag", (tag) => tag],
    ["a weak tag", (tag) => `W/${tag}`],
    ["a list", (tag) => `"x", ${tag}, "7"`],
  ])(
    "If-None-Match with %s of an earlier bucket answers the new value",
    async ([, header], { oldTag, get }) => {
      const tag = await oldTag();
      const answer = await get({ "if-none-match": header(tag) });
      expect([answer.status, answer.json]).toMatchObject([200, { value: "bmV3", revision: 1 }]);
      expect(answer.headers.etag).not.toBe(tag);
      expect((await get({ "if-none-match": answer.headers.etag ?? "" })).status).toBe(304);
    },
  );

  it("If-Match with a tag of an earlier bucket is refused on GET, PUT and DELETE", async ({
    oldTag,
    get,
    put,
    remove,
    value,
  }) => {
    const tag = await oldTag();
    for (const refused of [
      await get({ "if-match": tag }),
      await put("lost", { "if-match": tag }),
      await remove({ "if-match": tag }),
      await put("lost", { "if-match": `W/${tag}` }),
    ]) {
      expect([refused.status, refused.json]).toMatchObject([412, { code: "revision_mismatch" }]);
      expect(refused.headers.etag).toMatch(TAG);
      expect(refused.headers.etag).not.toBe(tag);
    }
    expect(await value()).toBe("new");
    const current = (await put("lost", { "if-match": tag })).headers.etag ?? "";
    expect((await put("v", { "if-match": current })).status).toBe(200);
  });

  it("a bare revision stays accepted", async ({ oldTag, get, put, remove }) => {
    await oldTag();
    for (const tag of ["1", '"1"', 'W/"1"', "*"]) {
      expect((await get({ "if-none-match": tag })).status).toBe(304);
      expect((await get({ "if-match": tag })).status).toBe(200);
    }
    expect((await put("v", { "if-match": "1" })).status).toBe(200);
    expect((await put("w", { "if-match": '"2"' })).status).toBe(200);
    expect((await remove({ "if-match": "3" })).status).toBe(204);
  });

  it("a refused write names the tag of what is there", async ({ create, one, get, put }) => {
    await create(one, "v");
    const { etag } = (await get()).headers;
    for (const condition of [{ "if-none-match": "*" }, { "if-match": "9" }] as const) {
      const refused = await put("w", { ...condition });
      expect([refused.status, refused.headers.etag]).toEqual([412, etag]);
    }
  });
});
