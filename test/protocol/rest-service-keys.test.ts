/** The REST tables of the design, line by line, against a real service: reads, writes and deletes of a key. */
import { describe, expect, it } from "vitest";
import { type TestAnswer } from "../support/http-client.js";
import {
  bucket,
  BUCKETS,
  expectError,
  get,
  keyPath,
  put,
  remove,
  revisionOf,
  RFC_3339,
  send,
  useNewBucket,
  useRestService,
} from "../support/rest-service.js";

useRestService();

describe("GET of a key", () => {
  it("answers exactly key, value, revision, created_at and operation", async () => {
    const revision = await revisionOf(put("k", new Uint8Array([0, 255, 10])));
    const { status, json, headers } = await get("k");
    expect(status).toBe(200);
    expect(headers.etag).toMatch(new RegExp(`^"${revision}-[0-9a-z]+"$`));
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
    expect([same.status, same.bytes.length, same.headers.etag]).toEqual([
      304,
      0,
      (await get("k")).headers.etag,
    ]);
    expect((await get("k", { "if-none-match": `"${first}"` })).status).toBe(200);
  });

  it("answers an earlier revision while the history keeps it", async () => {
    await send("PATCH", `${BUCKETS}/${bucket()}`, { body: '{"history":2}' });
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
  it("stores a body of any content type unchanged", async () => {
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
    expect(refused.headers.etag).toBe((await get("k")).headers.etag);
    expect(refused.headers.etag).toMatch(new RegExp(`^"${revision}-`));
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
    await send("PATCH", `${BUCKETS}/${bucket()}`, { body: '{"max_value_size":10}' });
    expectError(await put("k", new Uint8Array(11)), 413, "value_too_large");
    await revisionOf(put("k", new Uint8Array(10)));
  });

  it("answers 507 when the bucket is full", async () => {
    await useNewBucket({ max_bytes: 2_048 });
    expectError(await put("k", new Uint8Array(4_096)), 507, "bucket_full");
  });
});

describe("DELETE of a key", () => {
  it("is idempotent", async () => {
    await put("k", "x");
    for (let time = 0; time < 3; time++) expect((await remove("k")).status).toBe(204);
    expect((await remove("never")).status).toBe(204);
  });

  it("keeps the history, and with purge removes it", async () => {
    await send("PATCH", `${BUCKETS}/${bucket()}`, { body: '{"history":5}' });
    const history = async (): Promise<TestAnswer> => send("GET", `${BUCKETS}/${bucket()}/history/k`);
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
