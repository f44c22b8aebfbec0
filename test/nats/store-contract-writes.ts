/** What every store must do when it is written to: the contract of `src/kv/store.ts` as tests. */
import { describe, expect } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { bytes, expectRefusal, historyOf, refusal, scope, text } from "./store-contract.js";
import type { ContractTest } from "./contract-test.js";

export function describeWriteContract(name: string, it: ContractTest): void {
  describe(`${name}: writes of a store`, () => {
    describe("put", () => {
      it("returns revisions that grow by one over the whole bucket", async ({ bucketWith, put }) => {
        const bucket = await bucketWith();
        expect(await put(bucket, "a", "1")).toBe(1n);
        expect(await put(bucket, "b", "1")).toBe(2n);
        expect(await put(bucket, "a", "2")).toBe(3n);
      });

      it("if absent writes where the key has no value, and nowhere else", async ({ bucketWith, store }) => {
        const bucket = await bucketWith();
        const create = (key: string): Promise<bigint> =>
          store.put(bucket, key, bytes("v"), { condition: "if_absent" }, scope());
        expect(await create("k")).toBe(1n);
        await expectRefusal(create("k"), "key_exists", 1n);
        await store.delete(bucket, "k", {}, scope());
        expect(await create("k")).toBe(3n);
        await store.delete(bucket, "k", { purge: true }, scope());
        expect(await create("k")).toBe(5n);
        await expectRefusal(create("k"), "key_exists", 5n);
      });

      it("if absent is won by one of many, also over a tombstone", async ({ bucketWith, store }) => {
        const bucket = await bucketWith();
        for (let round = 0; round < 3; round++) {
          const outcomes = await Promise.allSettled(
            Array.from({ length: 16 }, () =>
              store.put(bucket, "k", bytes("v"), { condition: "if_absent" }, scope()),
            ),
          );
          const won = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
          expect(won).toHaveLength(1);
          for (const outcome of outcomes) {
            if (outcome.status === "rejected")
              expect(outcome.reason).toMatchObject({ kind: "key_exists", revision: won[0] });
          }
          await store.delete(bucket, "k", {}, scope());
        }
      });

      it("if revision writes over exactly that one, tombstones included", async ({
        bucketWith,
        store,
        put,
      }) => {
        const bucket = await bucketWith();
        const update = (revision: bigint): Promise<bigint> =>
          store.put(bucket, "k", bytes("v"), { condition: { ifRevision: revision } }, scope());
        await expectRefusal(update(1n), "revision_mismatch", 0n);
        await put(bucket, "k", "v");
        expect(await update(1n)).toBe(2n);
        await expectRefusal(update(1n), "revision_mismatch", 2n);
        await expectRefusal(update(3n), "revision_mismatch", 2n);
        await expectRefusal(update(2n ** 64n - 1n), "revision_mismatch", 2n);
        const tombstone = await store.delete(bucket, "k", {}, scope());
        await expectRefusal(update(2n), "revision_mismatch", tombstone);
        expect(await update(tombstone)).toBe(4n);
        await expectRefusal(update(0n), "invalid_argument");
        await expectRefusal(update(-1n), "invalid_argument");
      });

      it("if revision is won by one of many", async ({ bucketWith, put, get, store }) => {
        const bucket = await bucketWith();
        await put(bucket, "counter", "0");
        const increment = async (): Promise<void> => {
          for (;;) {
            const entry = await get(bucket, "counter");
            const value = bytes(String(Number(text(entry.value)) + 1));
            const condition = { ifRevision: entry.revision };
            try {
              await store.put(bucket, "counter", value, { condition }, scope());
              return;
            } catch (error) {
              if (!(error instanceof KvError) || error.kind !== "revision_mismatch") throw error;
            }
          }
        };
        await Promise.all(Array.from({ length: 20 }, increment));
        expect(text((await get(bucket, "counter")).value)).toBe("20");
      });

      it("takes values up to max_value_size, to the byte, whatever else is sent with them", async ({
        bucketWith,
        store,
      }) => {
        const bucket = await bucketWith({ maxValueSize: 10 });
        const contentType = "x".repeat(255);
        const large = (size: number): Promise<bigint> =>
          store.put(bucket, "k", Buffer.alloc(size), { contentType, condition: "always" }, scope());
        expect(await large(10)).toBe(1n);
        await expectRefusal(large(11), "value_too_large");
        await expectRefusal(large(5_000), "value_too_large");
        await store.updateBucket(bucket, { maxValueSize: 11 }, scope());
        expect(await large(11)).toBe(2n);
        await store.delete(bucket, "k", {}, scope());
      });

      it("refuses values over the service's limit", async ({ bucketWith, store }) => {
        const bucket = await bucketWith();
        const call = store.put(bucket, "k", Buffer.alloc(1_048_577), {}, scope());
        await expectRefusal(call, "value_too_large");
      });

      it.for(["a\r\nNats-Rollup: all", "é", "\u0000", "x".repeat(256)])(
        "refuses the content type %j",
        async (contentType, { bucketWith, store }) => {
          const bucket = await bucketWith();
          await expectRefusal(
            store.put(bucket, "k", bytes(""), { contentType }, scope()),
            "invalid_argument",
          );
        },
      );

      it("says that the bucket is full, keeps what it has, and accepts writes again after a purge", async ({
        bucketWith,
        put,
        keysOf,
        store,
      }) => {
        const bucket = await bucketWith({ maxBytes: 2_000, history: 4 });
        const value = "x".repeat(400);
        let written = 0;
        const error = await refusal(
          (async () => {
            for (; written < 10; written++) await put(bucket, `k${written % 2}`, value);
          })(),
        );
        expect(error.kind).toBe("bucket_full");
        expect(written).toBeGreaterThan(2);
        expect(await keysOf(bucket)).toEqual(["k0", "k1"]);
        expect(await historyOf(store, bucket, "k0", scope())).toHaveLength(Math.ceil(written / 2));
        expect(await store.delete(bucket, "k0", { purge: true }, scope())).toBeGreaterThan(0n);
        await put(bucket, "k1", value);
      });
    });

    describe("delete", () => {
      it("writes a tombstone, once", async ({ bucketWith, store, put }) => {
        const bucket = await bucketWith({ history: 5 });
        expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
        await put(bucket, "k", "v");
        expect(await store.delete(bucket, "k", {}, scope())).toBe(2n);
        expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
        expect((await store.getBucket(bucket, scope())).revision).toBe(2n);
        expect((await historyOf(store, bucket, "k", scope())).map((entry) => entry.operation)).toEqual([
          "put",
          "delete",
        ]);
      });

      it("with purge removes the history, also of a deleted key, once", async ({
        bucketWith,
        store,
        put,
        get,
      }) => {
        const bucket = await bucketWith({ history: 5 });
        expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(0n);
        await put(bucket, "k", "1");
        await put(bucket, "k", "2");
        await put(bucket, "kk", "3");
        await store.delete(bucket, "k", {}, scope());
        expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(5n);
        expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(0n);
        expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
        expect((await historyOf(store, bucket, "k", scope())).map((entry) => entry.operation)).toEqual([
          "purge",
        ]);
        expect(text((await get(bucket, "kk")).value)).toBe("3");
      });

      it.for([false, true])(
        "if revision deletes exactly that one (purge: %s)",
        async (purge, { bucketWith, store, put }) => {
          const bucket = await bucketWith({ history: 5 });
          const remove = (revision: bigint): Promise<bigint> =>
            store.delete(bucket, "k", { purge, condition: { ifRevision: revision } }, scope());
          await expectRefusal(remove(1n), "revision_mismatch", 0n);
          await put(bucket, "k", "v");
          await put(bucket, "k", "v");
          await expectRefusal(remove(1n), "revision_mismatch", 2n);
          await expectRefusal(remove(3n), "revision_mismatch", 2n);
          await expectRefusal(remove(0n), "invalid_argument");
          expect(await remove(2n)).toBe(3n);
          await expectRefusal(remove(2n), "revision_mismatch", 3n);
          expect(await remove(3n)).toBe(0n);
        },
      );

      it("of a key with wildcard characters leaves all others", async ({
        bucketWith,
        put,
        store,
        keysOf,
      }) => {
        const bucket = await bucketWith();
        for (const key of ["a.1", "a.2", "a.*", ">"]) await put(bucket, key, "v");
        expect(await store.delete(bucket, "*", { purge: true }, scope())).toBe(0n);
        await store.delete(bucket, "a.*", { purge: true }, scope());
        await store.delete(bucket, ">", {}, scope());
        expect(await keysOf(bucket)).toEqual(["a.1", "a.2"]);
      });

      it("refuses to be conditional on absence", async ({ bucketWith, store }) => {
        const bucket = await bucketWith();
        await expectRefusal(
          store.delete(bucket, "k", { condition: "if_absent" }, scope()),
          "invalid_argument",
        );
      });
    });
  });
}
