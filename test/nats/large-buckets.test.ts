/** A bucket whose key index does not fit into INDEX_BYTES_MAX is read window by window: slower, but right, in bounded memory. */
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { KeyPage, ScanOptions, ScanPart } from "../../src/kv/reads.js";
import { IS_EXTENDED } from "../support/extended.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, newBucketName, refusal, scope, text } from "./store-contract.js";
import { countsOf, stateAt, writeMuch, type Written } from "./written.js";

/** The smallest index: some hundreds of keys. */
const INDEX_BYTES_MAX = 131_072;
const KEYS = 3_000;
const WRITERS_AT_ONCE = 250;
const ALL: ScanOptions = {
  ...{ filters: [], prefix: "", startKey: "", endKey: "", limit: 0 },
  ...{ isReverse: false, keysOnly: false, allowNewer: false },
};

const it = storeTest({
  ownServer: {},
  store: { limits: { ...DEFAULT_LIMITS, indexBytesMax: INDEX_BYTES_MAX } },
})
  .extend("opened", { scope: "file" }, ({ open }) => open)
  /** A bucket of many keys, of which each tenth was deleted or purged. */
  .extend("filled", ({ store }) => async (history: number): Promise<{ bucket: string; written: Written }> => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, history }, scope());
    const written: Written = new Map();
    const write = async (step: number): Promise<void> => {
      const key = keyAt(step);
      const value = String(step);
      written.set(await store.put(bucket, key, bytes(value), {}, scope()), { key, value });
      if (step % 10 !== 0) return;
      const revision = await store.delete(bucket, key, { purge: step % 20 === 0 }, scope());
      written.set(revision, { key, value: undefined });
    };
    for (let from = 0; from < KEYS; from += WRITERS_AT_ONCE)
      await Promise.all(Array.from({ length: WRITERS_AT_ONCE }, (_, at) => write(from + at)));
    return { bucket, written };
  })
  .extend(
    "pagesOf",
    ({ store }) =>
      async (bucket: string, filters: readonly string[] = [], limit = 0): Promise<KeyPage[]> => {
        const pages: KeyPage[] = [];
        do {
          const pageToken = pages.at(-1)?.nextPageToken ?? "";
          pages.push(await store.listKeys(bucket, filters, { limit, pageToken }, scope()));
        } while (pages.at(-1)?.nextPageToken !== "");
        return pages;
      },
  )
  /** Lists until the index, which is checked once a second, is too large. */
  .extend("untilRefused", ({ pagesOf }) => async (bucket: string): Promise<void> => {
    for (;;) await pagesOf(bucket, ["nothing"]);
  })
  .extend(
    "scan",
    ({ store }) =>
      async (bucket: string, options: Partial<ScanOptions> = {}): Promise<ScanPart[]> => {
        const parts: ScanPart[] = [];
        for await (const part of await store.scan(bucket, { ...ALL, ...options }, scope())) parts.push(part);
        return parts;
      },
  );

/** Not in order; every seventh in an escaped form. */
function keyAt(step: number): string {
  const index = (step * 619) % KEYS;
  return index % 7 === 0 ? `é ${index}=` : `k.${index % 10}.${index}`;
}

/** The place of each key in the order of their bytes. */
const PLACES = new Map(
  Array.from({ length: KEYS }, (_, step) => keyAt(step))
    .sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
    .map((key, place) => [key, place]),
);
const placeOf = (key: string): number => PLACES.get(key) ?? -1;
const inOrder = (keys: Iterable<string>): string[] =>
  [...keys].sort((one, other) => placeOf(one) - placeOf(other));
const keysAt = (written: Written, revision: bigint): string[] => inOrder(stateAt(written, revision).keys());
const newest = (written: Written): bigint => BigInt(Math.max(...[...written.keys()].map(Number)));

const scanned = (parts: readonly ScanPart[]): (readonly [string, string])[] =>
  parts.flatMap(({ entries }) => entries.map(({ key, value }) => [key, text(value)] as const));

describe.each(IS_EXTENDED ? [1, 5] : [5])(
  "a bucket over the memory for its index, with history %i",
  (history) => {
    it("is listed, counted, scanned, read and deleted exactly, in bounded memory", async ({
      filled,
      store,
      pagesOf,
      scan,
      untilRefused,
    }) => {
      const { bucket, written } = await filled(history);
      const state = stateAt(written, newest(written));
      const keys = inOrder(state.keys());
      const before = store.keyIndexes().loads;
      const pages = await pagesOf(bucket);
      expect(pages.flatMap(({ items }) => items)).toEqual(keys);
      for (const { revision } of pages) expect(revision).toBe(newest(written));
      expect(store.keyIndexes().loads - before).toBeGreaterThan(2);
      const info = await store.getBucket(bucket, scope());
      expect([info.values, info.revision]).toEqual([keys.length, newest(written)]);

      for (const [filter, matches] of [
        ["k.3.>", (key: string) => key.startsWith("k.3.")],
        ["k.*.11*", (key: string) => /^k\.\d\.11/.test(key)],
        ["é*", (key: string) => key.startsWith("é")],
        ["nothing.>", () => false],
      ] as const) {
        const found = await pagesOf(bucket, [filter], 20);
        expect(found.flatMap(({ items }) => items)).toEqual(keys.filter(matches));
      }

      const all = keys.map((key) => [key, state.get(key)]);
      expect(scanned(await scan(bucket))).toEqual(all);
      expect(scanned(await scan(bucket, { isReverse: true }))).toEqual(all.toReversed());
      const some = await scan(bucket, { limit: keys.length - 5 });
      expect(scanned(some)).toEqual(all.slice(0, -5));
      expect(some.at(-1)?.end?.isComplete).toBe(false);
      expect((await scan(bucket, { limit: keys.length })).at(-1)?.end?.isComplete).toBe(true);
      const [startKey = "", endKey = ""] = [keys[100], keys[900]];
      expect(scanned(await scan(bucket, { startKey, endKey }))).toEqual(all.slice(100, 900));
      expect(scanned(await scan(bucket, { startKey, endKey, isReverse: true }))).toEqual(
        all.slice(100, 900).toReversed(),
      );

      const named = [keys[0] ?? "", keyAt(0), keys.at(-1) ?? "", "absent"];
      const batch = await store.batchGet(bucket, named, 0n, scope());
      expect(batch.revision).toBe(newest(written));
      expect(batch.results.map(({ entry }) => entry && text(entry.value))).toEqual(
        named.map((key) => state.get(key)),
      );

      let [deleted, pageToken] = [0, ""];
      do {
        const deletion = { filters: ["k.1.>", "k.2.>"], purge: false, page: { limit: 200, pageToken } };
        const page = await store.deleteKeys(bucket, deletion, scope());
        deleted += page.deleted;
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      const rest = keys.filter((key) => !/^k\.[12]/.test(key));
      expect(deleted).toBe(keys.length - rest.length);
      expect((await pagesOf(bucket)).flatMap(({ items }) => items)).toEqual(rest);
      expect((await store.getBucket(bucket, scope())).values).toBe(rest.length);

      const others = rest.filter((key) => key.startsWith("k."));
      await Promise.all(others.map((key) => store.delete(bucket, key, {}, scope())));
      const refused = await refusal(untilRefused(bucket));
      expect(refused.kind).toBe("storage_exhausted");
      expect(refused.message).toContain("INDEX_BYTES_MAX");
      await store.compactBucket(bucket, scope());
      const left = rest.filter((key) => !key.startsWith("k."));
      expect((await pagesOf(bucket)).flatMap(({ items }) => items)).toEqual(left);
    });

    it("shows in each page, count and scan what was live at one revision, while many write", async ({
      filled,
      store,
      scan,
    }) => {
      const { bucket, written } = await filled(history);
      const pages: { readonly after: string; readonly page: KeyPage }[] = [];
      const counts: { readonly values: number; readonly revision: bigint }[] = [];
      const scans: ScanPart[][] = [];
      const refusals: string[] = [];
      let left = 4;
      const writers = Array.from({ length: 4 }, async (_, seed) => {
        await writeMuch(store, bucket, written, {
          ...{ seed, steps: 150 },
          keyAt: (step) => keyAt(seed * 401 + step * 7),
        });
        left--;
      });
      const list = async (): Promise<void> => {
        for (let after = "", pageToken = ""; left > 0;) {
          const page = await store.listKeys(bucket, [], { limit: 100, pageToken }, scope());
          pages.push({ after, page });
          pageToken = page.nextPageToken;
          after = pageToken === "" ? "" : (page.items.at(-1) ?? "");
        }
      };
      const count = async (): Promise<void> => {
        while (left > 0) counts.push(await store.getBucket(bucket, scope()));
      };
      const scanAll = async (): Promise<void> => {
        while (left > 0) {
          const parts = scan(bucket);
          await parts.then(
            (done) => scans.push(done),
            async () => refusals.push((await refusal(parts)).message),
          );
        }
      };
      await Promise.all([...writers, list(), count(), scanAll()]);
      for (const { after, page } of pages) {
        const { items, revision, nextPageToken } = page;
        const expected = keysAt(written, revision).filter((key) => placeOf(key) > placeOf(after));
        expect(items).toEqual(nextPageToken === "" ? expected : expected.slice(0, items.length));
      }
      const valuesAt = countsOf(written, counts.at(-1)?.revision ?? 0n);
      for (const { values, revision } of counts) expect(values).toBe(valuesAt[Number(revision)]);
      for (const parts of scans) {
        const state = stateAt(written, parts.at(-1)?.revision ?? 0n);
        expect(scanned(parts)).toEqual(inOrder(state.keys()).map((key) => [key, state.get(key)]));
      }
      for (const message of refusals) expect(message).toContain("allow_newer");
      expect(pages.length * counts.length).toBeGreaterThan(0);
      const newer = await scan(bucket, { allowNewer: true });
      expect(scanned(newer).map(([key]) => key)).toEqual(keysAt(written, newest(written)));
    });
  },
);

it("takes no more memory for its index than the setting allows, and some for what is loaded", ({ store }) => {
  const { peakBytes, buckets } = store.keyIndexes();
  expect(buckets).toBeGreaterThan(0);
  expect(peakBytes).toBeLessThan(2.5 * INDEX_BYTES_MAX);
});
