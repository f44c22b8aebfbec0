/** What every store must do with buckets: the contract of `src/kv/store.ts` as tests. */
import { describe, expect } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import type { Store } from "../../src/kv/store.js";
import { bytes, expectRefusal, historyOf, newBucketName, scope } from "./store-contract.js";
import type { ContractTest } from "./contract-test.js";

export function describeBucketContract(name: string, it: ContractTest): void {
  describe(`${name}: buckets of a store`, () => {
    describe("buckets", () => {
      it("are made as asked for, and described so", async ({ store }) => {
        const name = newBucketName();
        const before = Date.now();
        const config = {
          name,
          description: "Sitzungen ✓",
          ttlMs: 90_061_001,
          maxValueSize: 100,
          maxBytes: 1_000_000,
          history: 5,
        };
        const made = await store.createBucket(config, scope());
        expect(made).toMatchObject({ ...config, values: 0, bytes: 0, revision: 0n, replicas: 1 });
        expect(Math.abs(made.createdAt.getTime() - before)).toBeLessThan(60_000);
        expect(await store.getBucket(name, scope())).toEqual(made);
      });

      it("get the defaults where nothing is asked for", async ({ store }) => {
        const name = newBucketName();
        const made = await store.createBucket({ name }, scope());
        expect(made).toMatchObject({ description: "", ttlMs: 0, maxValueSize: 0, maxBytes: 0, history: 1 });
      });

      it("are not made twice, whatever the configuration, and stay as they are", async ({ store }) => {
        const name = newBucketName();
        await store.createBucket({ name, history: 2 }, scope());
        await expectRefusal(store.createBucket({ name, history: 2 }, scope()), "bucket_exists");
        await expectRefusal(store.createBucket({ name, history: 3 }, scope()), "bucket_exists");
        expect((await store.getBucket(name, scope())).history).toBe(2);
      });

      it("are made once by callers at the same time", async ({ store }) => {
        const name = newBucketName();
        const outcomes = await Promise.allSettled(
          Array.from({ length: 8 }, () => store.createBucket({ name }, scope())),
        );
        expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
        for (const outcome of outcomes) {
          if (outcome.status === "rejected") expect((outcome.reason as KvError).kind).toBe("bucket_exists");
        }
      });

      it.for(["APP_x", "SYS_x", "SYS_"])("refuses to make the reserved name %s", async (name, { store }) => {
        await expectRefusal(store.createBucket({ name }, scope()), "reserved_name");
      });

      it.for([
        ["no name", { name: "" }],
        ["a dot in the name", { name: "a.b" }],
        ["a wildcard in the name", { name: "*" }],
        ["a blank in the name", { name: "a b" }],
        ["a name of 65 characters", { name: "a".repeat(65) }],
        ["a description of 1,025 bytes", { description: "é".repeat(512) + "x" }],
        ["half of a surrogate pair in the description", { description: "\ud800" }],
        ["a ttl below a second", { ttlMs: 999 }],
        ["a negative ttl", { ttlMs: -1 }],
        ["a ttl of parts of milliseconds", { ttlMs: 1_000.5 }],
        ["a ttl of more than 100 years", { ttlMs: 101 * 365 * 24 * 3_600_000 }],
        ["a ttl that is no number", { ttlMs: Number.NaN }],
        ["a negative max_value_size", { maxValueSize: -1 }],
        ["a max_value_size beyond 2^31", { maxValueSize: 2 ** 31 }],
        ["max_bytes below 1,024", { maxBytes: 1_023 }],
        ["negative max_bytes", { maxBytes: -1 }],
        ["max_bytes beyond 2^53", { maxBytes: 2 ** 60 }],
        ["a history of 65", { history: 65 }],
        ["a negative history", { history: -1 }],
        ["half a history", { history: 1.5 }],
      ] as const)("refuses to make one with %s", async ([, config], { store }) => {
        await expectRefusal(
          store.createBucket({ name: newBucketName(), ...config }, scope()),
          "invalid_argument",
        );
      });

      it("take a ttl of 100 years", async ({ store, bucketWith }) => {
        const ttlMs = 100 * 365 * 24 * 3_600_000;
        expect((await store.getBucket(await bucketWith({ ttlMs }), scope())).ttlMs).toBe(ttlMs);
      });

      it("count live keys, exactly", async ({ bucketWith, put, store }) => {
        const bucket = await bucketWith({ history: 3 });
        for (const key of ["a", "b", "c", "d", "user:1", "x.y"]) await put(bucket, key, "1");
        await put(bucket, "a", "2");
        await store.delete(bucket, "b", {}, scope());
        await store.delete(bucket, "c", { purge: true }, scope());
        expect(await store.getBucket(bucket, scope())).toMatchObject({ values: 4, revision: 9n });
        await put(bucket, "b", "3");
        const info = await store.getBucket(bucket, scope());
        expect(info.values).toBe(5);
        expect(info.bytes).toBeGreaterThan(0);
      });

      it("change in what is named, and keep the rest", async ({ bucketWith, put, store }) => {
        const bucket = await bucketWith({ description: "one", maxValueSize: 10, history: 2 });
        await put(bucket, "k", "v");
        const changed = await store.updateBucket(bucket, { description: "two", ttlMs: 60_000 }, scope());
        expect(changed).toMatchObject({
          description: "two",
          ttlMs: 60_000,
          maxValueSize: 10,
          history: 2,
          values: 1,
        });
        const forEver = await store.updateBucket(
          bucket,
          { ttlMs: 0, maxValueSize: 0, description: "" },
          scope(),
        );
        expect(forEver).toMatchObject({ description: "", ttlMs: 0, maxValueSize: 0, history: 2, values: 1 });
        expect(await store.getBucket(bucket, scope())).toEqual(forEver);
      });

      it("keep every change of callers that change at the same time", async ({ bucketWith, store }) => {
        const bucket = await bucketWith();
        await Promise.all([
          store.updateBucket(bucket, { description: "x" }, scope()),
          store.updateBucket(bucket, { history: 4 }, scope()),
          store.updateBucket(bucket, { ttlMs: 5_000 }, scope()),
        ]);
        expect(await store.getBucket(bucket, scope())).toMatchObject({
          description: "x",
          history: 4,
          ttlMs: 5_000,
        });
      });

      it("drop what a shorter history no longer covers, and keep what lower limits would not take", async ({
        bucketWith,
        put,
        store,
      }) => {
        const bucket = await bucketWith({ history: 5 });
        for (let count = 0; count < 5; count++) await put(bucket, "k", `v${count}`.padEnd(400, "."));
        await store.updateBucket(bucket, { history: 2 }, scope());
        expect((await historyOf(store, bucket, "k", scope())).map((entry) => entry.revision)).toEqual([
          4n,
          5n,
        ]);
        await store.updateBucket(bucket, { maxBytes: 1_024, maxValueSize: 5 }, scope());
        expect(await historyOf(store, bucket, "k", scope())).toHaveLength(2);
        await expectRefusal(put(bucket, "k", "123456"), "value_too_large");
      });

      it.for([
        { ttlMs: 1 },
        { history: 65 },
        { maxBytes: 1 },
        { maxValueSize: -1 },
        { description: "x".repeat(1_025) },
      ])("refuses the change %o", async (change, { store, bucketWith }) => {
        await expectRefusal(store.updateBucket(await bucketWith(), change, scope()), "invalid_argument");
      });

      it("are listed in the order of their names, page by page, each once", async ({ store, put }) => {
        const prefix = newBucketName();
        const names = ["c", "a", "B", "d-1", "d_1"].map((suffix) => `${prefix}${suffix}`);
        for (const name of names) await store.createBucket({ name }, scope());
        await put(`${prefix}a`, "k", "v");
        const found: string[] = [];
        let pageToken = "";
        do {
          const page = await store.listBuckets({ limit: 2, pageToken }, scope());
          expect(page.items.length).toBeLessThanOrEqual(2);
          for (const info of page.items) {
            found.push(info.name);
            if (info.name === `${prefix}a`) expect(info.values).toBe(1);
          }
          pageToken = page.nextPageToken;
        } while (pageToken !== "");
        expect(found).toEqual([...found].sort());
        expect(found.filter((name) => name.startsWith(prefix))).toEqual([...names].sort());
        const all = await store.listBuckets({ limit: 0, pageToken: "" }, scope());
        expect(all.items.map((info) => info.name)).toEqual(found);
      });

      it("are gone when deleted, and start empty when recreated", async ({ bucketWith, put, store, get }) => {
        const bucket = await bucketWith();
        await put(bucket, "k", "v");
        await store.deleteBucket(bucket, scope());
        await expectRefusal(get(bucket, "k"), "bucket_not_found");
        await store.createBucket({ name: bucket }, scope());
        await expectRefusal(get(bucket, "k"), "key_not_found");
        expect(await put(bucket, "k", "v")).toBe(1n);
      });

      const missing = newBucketName();
      it.for<[string, (store: Store, bucket: string) => Promise<unknown>]>([
        ["getBucket", (store, bucket) => store.getBucket(bucket, scope())],
        ["updateBucket", (store, bucket) => store.updateBucket(bucket, { history: 2 }, scope())],
        ["deleteBucket", (store, bucket) => store.deleteBucket(bucket, scope())],
        ["get", (store, bucket) => store.get(bucket, "k", 0n, scope())],
        ["get at a revision", (store, bucket) => store.get(bucket, "k", 1n, scope())],
        ["put", (store, bucket) => store.put(bucket, "k", bytes("v"), {}, scope())],
        [
          "put if absent",
          (store, bucket) => store.put(bucket, "k", bytes(""), { condition: "if_absent" }, scope()),
        ],
        ["delete", (store, bucket) => store.delete(bucket, "k", {}, scope())],
        ["purge", (store, bucket) => store.delete(bucket, "k", { purge: true }, scope())],
        ["listKeys", (store, bucket) => store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())],
        ["history", (store, bucket) => historyOf(store, bucket, "k", scope())],
      ])("%s says that there is no such bucket, and refuses malformed names", async ([, call], { store }) => {
        await expectRefusal(call(store, missing), "bucket_not_found");
        for (const name of ["", "a.b", "*", ">", "a b", "a".repeat(65), "KV_../x", "é"]) {
          await expectRefusal(call(store, name), "invalid_argument");
        }
      });

      it("that were written to before and then deleted are missed by the next write", async ({
        bucketWith,
        put,
        store,
      }) => {
        const bucket = await bucketWith();
        await put(bucket, "k", "v");
        await store.deleteBucket(bucket, scope());
        await expectRefusal(put(bucket, "k", "v"), "bucket_not_found");
      });
    });
  });
}
