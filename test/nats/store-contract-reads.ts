/** What every store must do when it is read: the contract of `src/kv/store.ts` as tests. */
import { describe, expect } from "vitest";
import { bytes, expectRefusal, historyOf, scope, text } from "./store-contract.js";
import type { ContractTest } from "./contract-test.js";

export function describeReadContract(name: string, it: ContractTest): void {
  describe(`${name}: reads of a store`, () => {
    describe("get", () => {
      it("returns what was put, to the byte, with its revision, time and content type", async ({
        bucketWith,
        store,
        get,
      }) => {
        const bucket = await bucketWith();
        const value = Uint8Array.from({ length: 256 }, (_, index) => index);
        const before = Date.now();
        const revision = await store.put(bucket, "k", value, { contentType: "image/png; a=b" }, scope());
        const entry = await get(bucket, "k");
        expect(entry).toMatchObject({ key: "k", revision, operation: "put", contentType: "image/png; a=b" });
        expect([...entry.value]).toEqual([...value]);
        expect(Math.abs(entry.createdAtMs - before)).toBeLessThan(60_000);
        expect(Number.isInteger(entry.createdAtMs)).toBe(true);
        expect(entry.createdAtNanos).toBeGreaterThanOrEqual(0);
        expect(entry.createdAtNanos).toBeLessThan(1_000_000);
      });

      it("returns empty values, and the largest", async ({ bucketWith, put, get, store }) => {
        const bucket = await bucketWith();
        await put(bucket, "empty", "");
        expect((await get(bucket, "empty")).value).toHaveLength(0);
        const large = Buffer.alloc(1_048_576, "x");
        await store.put(bucket, "large", large, {}, scope());
        expect(Buffer.compare(large, (await get(bucket, "large")).value)).toBe(0);
      });

      it.for([
        "a",
        "a/b",
        "user:123",
        "a..b",
        ".",
        "..",
        ".a",
        "a.",
        "*",
        ">",
        "a.*",
        "a.>",
        "a b",
        "=",
        "=41",
        "%41",
        "ключ",
        "🙂",
        "$JS.API.>",
        "a\\b",
        'a"b',
        "x".repeat(512),
        "é".repeat(256),
      ])("finds the key %j, and only that", async (key, { bucketWith, put, get, keysOf, store }) => {
        const bucket = await bucketWith();
        await put(bucket, "other", "other");
        const revision = await put(bucket, key, "mine");
        expect(await get(bucket, key)).toMatchObject({ key, revision });
        expect(await keysOf(bucket)).toEqual(
          [key, "other"].sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right))),
        );
        await store.delete(bucket, key, {}, scope());
        await expectRefusal(get(bucket, key), "key_not_found");
        expect(text((await get(bucket, "other")).value)).toBe("other");
      });

      it.for(["", "a\nb", "a\u0000b", "\u007f", "a\u0085b", "\ud800", "x".repeat(513), "é".repeat(257)])(
        "refuses the key %j everywhere",
        async (key, { bucketWith, get, put, store }) => {
          const bucket = await bucketWith();
          await expectRefusal(get(bucket, key), "invalid_argument");
          await expectRefusal(put(bucket, key, "v"), "invalid_argument");
          await expectRefusal(store.delete(bucket, key, {}, scope()), "invalid_argument");
          await expectRefusal(historyOf(store, bucket, key, scope()), "invalid_argument");
        },
      );

      it("says that a key has no value when it never had one, or was deleted or purged", async ({
        bucketWith,
        get,
        put,
        store,
      }) => {
        const bucket = await bucketWith();
        await expectRefusal(get(bucket, "k"), "key_not_found");
        await put(bucket, "k", "v");
        await store.delete(bucket, "k", {}, scope());
        await expectRefusal(get(bucket, "k"), "key_not_found");
        await put(bucket, "k", "v");
        await store.delete(bucket, "k", { purge: true }, scope());
        await expectRefusal(get(bucket, "k"), "key_not_found");
      });

      it("returns exactly the revision asked for", async ({ bucketWith, put, store, get }) => {
        const bucket = await bucketWith({ history: 3 });
        await put(bucket, "k", "one");
        await put(bucket, "other", "x");
        await put(bucket, "k", "two");
        const tombstone = await store.delete(bucket, "k", {}, scope());
        expect(text((await get(bucket, "k", 1n)).value)).toBe("one");
        expect(text((await get(bucket, "k", 3n)).value)).toBe("two");
        await expectRefusal(get(bucket, "k", 2n), "key_not_found");
        await expectRefusal(get(bucket, "k", tombstone), "key_not_found");
      });

      it("tells a revision that is gone from one that was not written yet", async ({
        bucketWith,
        put,
        get,
      }) => {
        const bucket = await bucketWith();
        await put(bucket, "k", "one");
        await put(bucket, "k", "two");
        await expectRefusal(get(bucket, "k", 1n), "revision_compacted");
        for (const revision of [3n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
          await expectRefusal(get(bucket, "k", revision), "revision_in_future", 2n);
        }
        await expectRefusal(get(bucket, "k", -1n), "invalid_argument");
      });
    });

    describe("history", () => {
      it("has every kept revision, oldest first, tombstones included", async ({
        bucketWith,
        put,
        store,
        get,
      }) => {
        const bucket = await bucketWith({ history: 3 });
        await put(bucket, "k", "1");
        await put(bucket, "other", "x");
        await store.put(bucket, "k", bytes("2"), { contentType: "text/plain" }, scope());
        await store.delete(bucket, "k", {}, scope());
        await put(bucket, "k", "3");
        const entries = await historyOf(store, bucket, "k", scope());
        expect(
          entries.map(({ key, revision, operation, value, contentType }) => [
            key,
            revision,
            operation,
            text(value),
            contentType,
          ]),
        ).toEqual([
          ["k", 3n, "put", "2", "text/plain"],
          ["k", 4n, "delete", "", ""],
          ["k", 5n, "put", "3", ""],
        ]);
        expect(entries[2]).toEqual(await get(bucket, "k"));
      });

      it("of 64 revisions of a key between others is whole", async ({ bucketWith, put, store }) => {
        const bucket = await bucketWith({ history: 64 });
        for (let count = 0; count < 70; count++)
          await Promise.all([put(bucket, "k", `${count}`), put(bucket, `o${count}`, "")]);
        const values = (await historyOf(store, bucket, "k", scope())).map((entry) =>
          Number(text(entry.value)),
        );
        expect(values).toEqual(Array.from({ length: 64 }, (_, index) => index + 6));
      });

      it("of a key that nothing is kept of is refused", async ({ store, bucketWith }) => {
        await expectRefusal(historyOf(store, await bucketWith(), "k", scope()), "key_not_found");
      });
    });

    describe("the caller's scope", () => {
      it("ends calls past their deadline or without a caller, before anything is sent", async ({
        bucketWith,
        store,
      }) => {
        const bucket = await bucketWith();
        await expectRefusal(store.get(bucket, "k", 0n, scope(0)), "deadline_exceeded");
        await expectRefusal(store.put(bucket, "k", bytes(""), {}, scope(0)), "deadline_exceeded");
        await expectRefusal(
          store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope(0)),
          "deadline_exceeded",
        );
        expect((await store.getBucket(bucket, scope())).revision).toBe(0n);
      });
    });

    it("answers a ping", async ({ store }) => {
      await store.ping(scope());
    });
  });
}
