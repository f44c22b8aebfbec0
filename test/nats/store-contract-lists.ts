/** What every store must do to list keys: the contract of `src/kv/store.ts` as tests. */
import { describe, expect } from "vitest";
import { expectRefusal, scope } from "./store-contract.js";
import type { ContractTest } from "./contract-test.js";

export function describeListContract(name: string, it: ContractTest): void {
  describe(`${name}: lists of a store`, () => {
    describe("listKeys", () => {
      it("is empty in an empty bucket, at once", async ({ keysOf, bucketWith }) => {
        expect(await keysOf(await bucketWith())).toEqual([]);
      });

      it("is in the order of UTF-8 bytes", async ({ bucketWith, put, keysOf }) => {
        const bucket = await bucketWith();
        const keys = ["🙂", "\uffee", "é", "b", "a.b", "a", "a-b", "B", "a:b", "10", "9"];
        for (const key of keys) await put(bucket, key, "");
        const sorted = keys.sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
        expect(await keysOf(bucket)).toEqual(sorted);
      });

      it.for<[string[], string[]]>([
        [["user.*"], ["user.1", "user.2"]],
        [["user.>"], ["user.1", "user.1.name", "user.2"]],
        [["user-*"], ["user-7"]],
        [["*.1"], ["group.1", "user.1"]],
        [["user.1"], ["user.1"]],
        [["nothing"], []],
        [
          ["user.1", "user.2"],
          ["user.1", "user.2"],
        ],
        [
          ["user.*", "*.1"],
          ["group.1", "user.1", "user.2"],
        ],
        [
          ["user.>", "user.1", "user-*"],
          ["user-7", "user.1", "user.1.name", "user.2"],
        ],
        [["*:*"], ["a:b"]],
        [[""], ["a:b", "group.1", "user-7", "user.1", "user.1.name", "user.2"]],
        [[">"], ["a:b", "group.1", "user-7", "user.1", "user.1.name", "user.2"]],
      ])("of %j has what matches, once", async ([filters, expected], { bucketWith, put, store, keysOf }) => {
        const bucket = await bucketWith();
        for (const key of ["user.1", "user.2", "user.1.name", "user-7", "group.1", "a:b", "gone"])
          await put(bucket, key, "");
        await store.delete(bucket, "gone", {}, scope());
        expect(await keysOf(bucket, filters)).toEqual(expected);
      });

      it("refuses malformed filters, limits and tokens", async ({ bucketWith, store }) => {
        const bucket = await bucketWith();
        const list = (filters: string[], limit: number, pageToken: string): Promise<unknown> =>
          store.listKeys(bucket, filters, { limit, pageToken }, scope());
        for (const filter of [">.a", "a\nb", "x".repeat(600)]) {
          await expectRefusal(list([filter], 0, ""), "invalid_argument");
        }
        await expectRefusal(
          list(
            Array.from({ length: 33 }, (_, index) => `k${index}`),
            0,
            "",
          ),
          "invalid_argument",
        );
        for (const limit of [-1, 1.5, 10_001, Number.NaN])
          await expectRefusal(list([], limit, ""), "invalid_argument");
        for (const token of [
          "x",
          "!",
          "bnVsbA",
          Buffer.from("[1,2,3]").toString("base64url"),
          "=".repeat(100_000),
        ]) {
          await expectRefusal(list([], 0, token), "invalid_argument");
          await expectRefusal(store.listBuckets({ limit: 0, pageToken: token }, scope()), "invalid_argument");
        }
      });

      it("gives each key that lives throughout once, while others come and go between the pages", async ({
        bucketWith,
        put,
        store,
      }) => {
        const bucket = await bucketWith();
        const stay = Array.from({ length: 25 }, (_, index) => `stay.${index.toString().padStart(2, "0")}`);
        for (const key of stay) await put(bucket, key, "");
        const found: string[] = [];
        let pageToken = "";
        for (let count = 0; ; count++) {
          const page = await store.listKeys(bucket, [], { limit: 4, pageToken }, scope());
          found.push(...page.items);
          pageToken = page.nextPageToken;
          if (pageToken === "") break;
          await put(bucket, `come.${count}`, "");
          await put(bucket, `stay.${count}5`, "new");
          await store.delete(bucket, `come.${count - 1}`, {}, scope());
        }
        expect(found.filter((key) => stay.includes(key))).toEqual(stay);
        expect(new Set(found).size).toBe(found.length);
      });

      it("has every key that lives throughout, while all of them are rewritten", async ({
        bucketWith,
        put,
        keysOf,
        store,
      }) => {
        const bucket = await bucketWith();
        const keys = Array.from({ length: 1_000 }, (_, index) => `k${index.toString().padStart(4, "0")}`);
        await Promise.all(keys.map((key) => put(bucket, key, "")));
        let isOver = false;
        const writers = Array.from({ length: 8 }, async (_, writer) => {
          for (let count = writer; !isOver; count += 8)
            await put(bucket, keys[count % keys.length] ?? "", "new");
        });
        for (let round = 0; round < 5; round++) {
          expect(await keysOf(bucket)).toEqual(keys);
          expect((await store.getBucket(bucket, scope())).values).toBe(keys.length);
        }
        isOver = true;
        await Promise.all(writers);
      });

      it("ends with an empty token when the last page is full", async ({ bucketWith, put, store }) => {
        const bucket = await bucketWith();
        for (const key of ["a", "b"]) await put(bucket, key, "");
        expect(await store.listKeys(bucket, [], { limit: 2, pageToken: "" }, scope())).toEqual({
          items: ["a", "b"],
          nextPageToken: "",
          revision: 2n,
        });
      });

      it("takes a token only with the bucket and filters that it came from", async ({
        bucketWith,
        put,
        store,
      }) => {
        const [one, other] = [await bucketWith(), await bucketWith()];
        for (const key of ["a", "b"]) await put(one, key, "");
        const { nextPageToken: pageToken } = await store.listKeys(
          one,
          [],
          { limit: 1, pageToken: "" },
          scope(),
        );
        await expectRefusal(store.listKeys(other, [], { limit: 1, pageToken }, scope()), "invalid_argument");
        await expectRefusal(store.listKeys(one, ["a"], { limit: 1, pageToken }, scope()), "invalid_argument");
        await expectRefusal(store.listBuckets({ limit: 1, pageToken }, scope()), "invalid_argument");
      });

      it("sees each change made before it, in turn", async ({ bucketWith, put, keysOf, store }) => {
        const bucket = await bucketWith();
        for (let round = 0; round < 5; round++) {
          await put(bucket, `k${round}`, "");
          expect(await keysOf(bucket)).toHaveLength(round + 1);
          expect((await store.getBucket(bucket, scope())).values).toBe(round + 1);
        }
        await store.delete(bucket, "k0", { purge: true }, scope());
        expect(await keysOf(bucket)).toHaveLength(4);
        expect((await store.getBucket(bucket, scope())).values).toBe(4);
      });
    });
  });
}
