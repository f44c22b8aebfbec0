/** What every store must do with keys: the contract of `src/kv/store.ts` as tests. */
import { beforeAll, describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import type { BucketConfig, Store } from "../../src/kv/store.js";
import { bytes, expectRefusal, newBucketName, refusal, scope, text } from "./store-contract.js";

/** Runs the tests on the store that `getStore` returns once the caller's own `beforeAll` ran. */
export function describeKeyContract(name: string, getStore: () => Store): void {
  describe(`${name}: keys of a store`, () => {
    let store: Store;
    beforeAll(() => {
      store = getStore();
    });

    async function bucketWith(config: Omit<BucketConfig, "name"> = {}): Promise<string> {
      const name = newBucketName();
      await store.createBucket({ name, ...config }, scope());
      return name;
    }
    const put = (bucket: string, key: string, value: string): Promise<bigint> =>
      store.put(bucket, key, bytes(value), {}, scope());
    const get = (bucket: string, key: string, revision = 0n): ReturnType<Store["get"]> =>
      store.get(bucket, key, revision, scope());
    const keysOf = async (bucket: string, filters: string[] = []): Promise<readonly string[]> =>
      (await store.listKeys(bucket, filters, { limit: 0, pageToken: "" }, scope())).items;

    describe("get", () => {
      it("returns what was put, to the byte, with its revision, time and content type", async () => {
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

      it("returns empty values, and the largest", async () => {
        const bucket = await bucketWith();
        await put(bucket, "empty", "");
        expect((await get(bucket, "empty")).value).toHaveLength(0);
        const large = Buffer.alloc(1_048_576, "x");
        await store.put(bucket, "large", large, {}, scope());
        expect(Buffer.compare(large, (await get(bucket, "large")).value)).toBe(0);
      });

      it.each([
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
      ])("finds the key %j, and only that", async (key) => {
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

      it.each(["", "a\nb", "a\u0000b", "\u007f", "a\u0085b", "\ud800", "x".repeat(513), "é".repeat(257)])(
        "refuses the key %j everywhere",
        async (key) => {
          const bucket = await bucketWith();
          await expectRefusal(get(bucket, key), "invalid_argument");
          await expectRefusal(put(bucket, key, "v"), "invalid_argument");
          await expectRefusal(store.delete(bucket, key, {}, scope()), "invalid_argument");
          await expectRefusal(store.history(bucket, key, scope()), "invalid_argument");
        },
      );

      it("says that a key has no value when it never had one, or was deleted or purged", async () => {
        const bucket = await bucketWith();
        await expectRefusal(get(bucket, "k"), "key_not_found");
        await put(bucket, "k", "v");
        await store.delete(bucket, "k", {}, scope());
        await expectRefusal(get(bucket, "k"), "key_not_found");
        await put(bucket, "k", "v");
        await store.delete(bucket, "k", { purge: true }, scope());
        await expectRefusal(get(bucket, "k"), "key_not_found");
      });

      it("returns exactly the revision asked for", async () => {
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

      it("tells a revision that is gone from one that was not written yet", async () => {
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

    describe("put", () => {
      it("returns revisions that grow by one over the whole bucket", async () => {
        const bucket = await bucketWith();
        expect(await put(bucket, "a", "1")).toBe(1n);
        expect(await put(bucket, "b", "1")).toBe(2n);
        expect(await put(bucket, "a", "2")).toBe(3n);
      });

      it("if absent writes where the key has no value, and nowhere else", async () => {
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

      it("if absent is won by one of many, also over a tombstone", async () => {
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

      it("if revision writes over exactly that one, tombstones included", async () => {
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

      it("if revision is won by one of many", async () => {
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

      it("takes values up to max_value_size, to the byte, whatever else is sent with them", async () => {
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

      it("refuses values over the service's limit", async () => {
        const bucket = await bucketWith();
        const call = store.put(bucket, "k", Buffer.alloc(1_048_577), {}, scope());
        await expectRefusal(call, "value_too_large");
      });

      it.each(["a\r\nNats-Rollup: all", "é", "\u0000", "x".repeat(256)])(
        "refuses the content type %j",
        async (contentType) => {
          const bucket = await bucketWith();
          await expectRefusal(
            store.put(bucket, "k", bytes(""), { contentType }, scope()),
            "invalid_argument",
          );
        },
      );

      it("says that the bucket is full, keeps what it has, and goes on after a purge", async () => {
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
        expect(await store.history(bucket, "k0", scope())).toHaveLength(Math.ceil(written / 2));
        expect(await store.delete(bucket, "k0", { purge: true }, scope())).toBeGreaterThan(0n);
        await put(bucket, "k1", value);
      });
    });

    describe("delete", () => {
      it("writes a tombstone, once", async () => {
        const bucket = await bucketWith({ history: 5 });
        expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
        await put(bucket, "k", "v");
        expect(await store.delete(bucket, "k", {}, scope())).toBe(2n);
        expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
        expect((await store.getBucket(bucket, scope())).revision).toBe(2n);
        expect((await store.history(bucket, "k", scope())).map((entry) => entry.operation)).toEqual([
          "put",
          "delete",
        ]);
      });

      it("with purge removes the history, also of a deleted key, once", async () => {
        const bucket = await bucketWith({ history: 5 });
        expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(0n);
        await put(bucket, "k", "1");
        await put(bucket, "k", "2");
        await put(bucket, "kk", "3");
        await store.delete(bucket, "k", {}, scope());
        expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(5n);
        expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(0n);
        expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
        expect((await store.history(bucket, "k", scope())).map((entry) => entry.operation)).toEqual([
          "purge",
        ]);
        expect(text((await get(bucket, "kk")).value)).toBe("3");
      });

      it.each([false, true])("if revision deletes exactly that one (purge: %s)", async (purge) => {
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
      });

      it("of a key with wildcard characters leaves all others", async () => {
        const bucket = await bucketWith();
        for (const key of ["a.1", "a.2", "a.*", ">"]) await put(bucket, key, "v");
        expect(await store.delete(bucket, "*", { purge: true }, scope())).toBe(0n);
        await store.delete(bucket, "a.*", { purge: true }, scope());
        await store.delete(bucket, ">", {}, scope());
        expect(await keysOf(bucket)).toEqual(["a.1", "a.2"]);
      });

      it("refuses to be conditional on absence", async () => {
        const bucket = await bucketWith();
        await expectRefusal(
          store.delete(bucket, "k", { condition: "if_absent" }, scope()),
          "invalid_argument",
        );
      });
    });

    describe("history", () => {
      it("has every kept revision, oldest first, tombstones included", async () => {
        const bucket = await bucketWith({ history: 3 });
        await put(bucket, "k", "1");
        await put(bucket, "other", "x");
        await store.put(bucket, "k", bytes("2"), { contentType: "text/plain" }, scope());
        await store.delete(bucket, "k", {}, scope());
        await put(bucket, "k", "3");
        const entries = await store.history(bucket, "k", scope());
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

      it("of 64 revisions of a key between others is whole", async () => {
        const bucket = await bucketWith({ history: 64 });
        for (let count = 0; count < 70; count++)
          await Promise.all([put(bucket, "k", `${count}`), put(bucket, `o${count}`, "")]);
        const values = (await store.history(bucket, "k", scope())).map((entry) => Number(text(entry.value)));
        expect(values).toEqual(Array.from({ length: 64 }, (_, index) => index + 6));
      });

      it("of a key that nothing is kept of is refused", async () => {
        await expectRefusal(store.history(await bucketWith(), "k", scope()), "key_not_found");
      });
    });

    describe("listKeys", () => {
      it("is empty in an empty bucket, at once", async () => {
        expect(await keysOf(await bucketWith())).toEqual([]);
      });

      it("is in the order of UTF-8 bytes", async () => {
        const bucket = await bucketWith();
        const keys = ["🙂", "\uffee", "é", "b", "a.b", "a", "a-b", "B", "a:b", "10", "9"];
        for (const key of keys) await put(bucket, key, "");
        const sorted = keys.sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
        expect(await keysOf(bucket)).toEqual(sorted);
      });

      it.each<[string[], string[]]>([
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
      ])("of %j has what matches, once", async (filters, expected) => {
        const bucket = await bucketWith();
        for (const key of ["user.1", "user.2", "user.1.name", "user-7", "group.1", "a:b", "gone"])
          await put(bucket, key, "");
        await store.delete(bucket, "gone", {}, scope());
        expect(await keysOf(bucket, filters)).toEqual(expected);
      });

      it("refuses malformed filters, limits and tokens", async () => {
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

      it("gives each key that lives throughout once, while others come and go between the pages", async () => {
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

      it("ends with an empty token when the last page is full", async () => {
        const bucket = await bucketWith();
        for (const key of ["a", "b"]) await put(bucket, key, "");
        expect(await store.listKeys(bucket, [], { limit: 2, pageToken: "" }, scope())).toEqual({
          items: ["a", "b"],
          nextPageToken: "",
        });
      });

      it("takes a token only with the bucket and filters that it came from", async () => {
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

      it("sees each change made before it, in turn", async () => {
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

    describe("the caller's scope", () => {
      it("ends calls whose time is over or whose caller is gone, before anything is sent", async () => {
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

    it("answers a ping", async () => {
      await store.ping(scope());
    });
  });
}
