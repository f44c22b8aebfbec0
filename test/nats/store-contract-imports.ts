/** What every store must do when entries are imported: the contract of `src/kv/store.ts` as tests. */
import { describe, expect } from "vitest";
import type { ImportedEntry } from "../../src/kv/writes.js";
import type { Store } from "../../src/kv/store.js";
import { bytes, expectRefusal, historyOf, newBucketName, scope, text } from "./store-contract.js";
import type { ContractTest } from "./contract-test.js";

const put = (key: string, value: string): ImportedEntry => ({
  key,
  value: bytes(value),
  operation: "put",
  contentType: "",
});
const tombstone = (key: string, operation: "delete" | "purge" = "delete"): ImportedEntry => ({
  ...put(key, ""),
  operation,
});

const linesOf = async (store: Store, bucket: string, key: string): Promise<string[]> =>
  (await historyOf(store, bucket, key, scope())).map(
    ({ operation, value, revision }) => `${operation} ${text(value)} @${String(revision)}`,
  );

export function describeImportContract(name: string, it: ContractTest): void {
  describe(`${name}: imports into a store`, () => {
    it("writes entries in their order, under the revisions that follow", async ({ bucketWith, store }) => {
      const bucket = await bucketWith({ history: 10 });
      const first = [put("a", "1"), put("b", "1"), { ...put("a", "2"), contentType: "text/x" }];
      expect(await store.importEntries(bucket, 0n, first, scope())).toEqual({ imported: 3, revision: 3n });
      const more = [tombstone("a"), put("c", ""), tombstone("b", "purge")];
      expect(await store.importEntries(bucket, 3n, more, scope())).toEqual({ imported: 3, revision: 6n });
      expect(await linesOf(store, bucket, "a")).toEqual(["put 1 @1", "put 2 @3", "delete  @4"]);
      expect(await linesOf(store, bucket, "b")).toEqual(["purge  @6"]);
      expect(await linesOf(store, bucket, "c")).toEqual(["put  @5"]);
      expect((await store.get(bucket, "a", 3n, scope())).contentType).toBe("text/x");
    });

    it("writes tombstones also where there is nothing to delete", async ({ bucketWith, store }) => {
      const bucket = await bucketWith({ history: 10 });
      const entries = [tombstone("a"), tombstone("a"), tombstone("b", "purge"), put("b", "1")];
      expect(await store.importEntries(bucket, 0n, entries, scope())).toEqual({ imported: 4, revision: 4n });
      expect(await linesOf(store, bucket, "a")).toEqual(["delete  @1", "delete  @2"]);
      expect(await linesOf(store, bucket, "b")).toEqual(["purge  @3", "put 1 @4"]);
    });

    it("writes 1,000 entries at once, and no more", async ({ bucketWith, store }) => {
      const bucket = await bucketWith({ history: 10 });
      const entries = Array.from({ length: 1_000 }, (_, index) => put(`k.${index}`, `${index}`));
      expect(await store.importEntries(bucket, 0n, entries, scope())).toEqual({
        imported: 1_000,
        revision: 1_000n,
      });
      expect(await linesOf(store, bucket, "k.999")).toEqual(["put 999 @1000"]);
      const tooMany = [...entries, put("k", "")];
      await expectRefusal(store.importEntries(bucket, 1_000n, tooMany, scope()), "invalid_argument");
      await expectRefusal(store.importEntries(bucket, 1_000n, [], scope()), "invalid_argument");
    });

    it("writes nothing where the bucket's revision is another one", async ({ bucketWith, store }) => {
      const bucket = await bucketWith({ history: 10 });
      await store.importEntries(bucket, 0n, [put("a", "1"), put("b", "1")], scope());
      for (const afterRevision of [0n, 1n, 3n, 2n ** 64n - 1n]) {
        const refused = store.importEntries(bucket, afterRevision, [put("c", "1")], scope());
        await expectRefusal(refused, "revision_mismatch", 2n);
      }
      expect((await store.getBucket(bucket, scope())).revision).toBe(2n);
    });

    it("is read at once", async ({ bucketWith, store }) => {
      const bucket = await bucketWith({ history: 10 });
      await store.put(bucket, "k", bytes("0"), {}, scope());
      for (let round = 1; round <= 20; round++) {
        expect(text((await store.get(bucket, "k", 0n, scope())).value)).toBe(`${round - 1}`);
        await store.importEntries(bucket, BigInt(round), [put("k", `${round}`)], scope());
      }
    });

    it("stops before an entry that is over a limit, and refuses it when it comes first", async ({
      bucketWith,
      store,
    }) => {
      const bucket = await bucketWith({ history: 10, maxValueSize: 5 });
      const entries = [put("a", "1"), put("b", "too large"), put("c", "1")];
      expect(await store.importEntries(bucket, 0n, entries, scope())).toEqual({ imported: 1, revision: 1n });
      await expectRefusal(store.importEntries(bucket, 1n, entries.slice(1), scope()), "value_too_large");
      expect((await store.getBucket(bucket, scope())).revision).toBe(1n);

      const full = await bucketWith({ history: 10, maxBytes: 2_048 });
      const large = Array.from({ length: 10 }, (_, index) => put(`k.${index}`, "x".repeat(400)));
      const { imported, revision } = await store.importEntries(full, 0n, large, scope());
      expect(imported).toBeGreaterThan(0);
      expect(imported).toBeLessThan(10);
      await expectRefusal(store.importEntries(full, revision, large.slice(imported), scope()), "bucket_full");
      expect((await store.getBucket(full, scope())).revision).toBe(revision);
    });

    it.for<[string, ImportedEntry]>([
      ["a malformed key", put("a\n", "1")],
      ["an empty key", put("", "1")],
      ["a tombstone with a value", { ...put("a", "1"), operation: "delete" }],
      ["a malformed content type", { ...put("a", "1"), contentType: "a\r\nb: c" }],
    ])("refuses %s, and then writes nothing of the call", async ([, entry], { bucketWith, store }) => {
      const bucket = await bucketWith({ history: 10 });
      await expectRefusal(
        store.importEntries(bucket, 0n, [put("x", "1"), entry], scope()),
        "invalid_argument",
      );
      expect((await store.getBucket(bucket, scope())).revision).toBe(0n);
    });

    it("refuses a bucket that is not there", async ({ store }) => {
      const refused = store.importEntries(newBucketName(), 0n, [put("a", "1")], scope());
      await expectRefusal(refused, "bucket_not_found");
    });
  });
}
