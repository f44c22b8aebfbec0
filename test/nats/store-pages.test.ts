/** Pages of the store: together they are the whole, and each stays below its limit in every encoding, whatever the limits are. */
import { createHash } from "node:crypto";
import { create, type DescMessage, type MessageShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ListBucketsResponseSchema } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  GetHistoryResponseSchema,
  ListKeysResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { BucketInfo } from "../../src/kv/bucket.js";
import type { Entry } from "../../src/kv/entry.js";
import type { Page, PageRequest } from "../../src/kv/reads.js";
import type { Store } from "../../src/kv/store.js";
import { bucketMessage, entryMessage } from "../../src/service/convert.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { expectRefusal, historyOf, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";

/** More than any page of one small item takes, as the least that PAGE_BYTES_MAX may be. */
const PAGE_BYTES = { min: 16_384, max: 200_000 };
const KEYS = Array.from({ length: 300 }, (_, index) => {
  const text = ["k", "é", '"', "🙂"][index % 4] ?? "";
  return `${text.repeat(1 + ((index * 37) % 120))}${index}`;
}).sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
const VALUE_BYTES = Array.from({ length: 40 }, (_, index) => (index * 7_919) % 30_000);
const BUCKETS = Array.from({ length: 30 }, (_, index) => `b${`${index}`.padStart(2, "0")}`);

let server: TestNatsServer;
let store: Store;
const closers: (() => Promise<void>)[] = [];

async function storeWith(pageBytesMax: number): Promise<Store> {
  const open = await openStore(server.url, { limits: { ...DEFAULT_LIMITS, pageBytesMax } });
  closers.push(() => open.close());
  return open.store;
}

beforeAll(async () => {
  server = await startNatsServer();
  store = await storeWith(DEFAULT_LIMITS.pageBytesMax);
  for (const [index, name] of BUCKETS.entries())
    await store.createBucket(
      { name, description: '\u0001é"x'.repeat((index * 53) % 200), history: 64 },
      scope(),
    );
  await Promise.all(KEYS.map((key) => store.put("b00", key, new Uint8Array(), {}, scope())));
  for (const bytes of VALUE_BYTES)
    await store.put("b01", "k", new Uint8Array(bytes).fill(bytes), { contentType: "x/y" }, scope());
});
afterAll(async () => {
  for (const close of closers) await close();
  await server.remove();
});

async function pagesOf<Item>(
  next: (request: PageRequest) => Promise<Page<Item>>,
  limit: number,
): Promise<Page<Item>[]> {
  const pages: Page<Item>[] = [];
  let pageToken = "";
  do {
    const page = await next({ limit, pageToken });
    pages.push(page);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return pages;
}

/** The sizes of a message in both encodings. */
function sizesOf<Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): [number, number] {
  return [toBinary(desc, message).length, Buffer.byteLength(toJsonString(desc, message))];
}

interface Listing<Item> {
  readonly whole: (store: Store) => Promise<readonly Item[]>;
  readonly list: (store: Store, request: PageRequest) => Promise<Page<Item>>;
  readonly limitMax: number;
  /** What tells one item from another. */
  readonly line: (item: Item) => string;
  readonly sizes: (page: Page<Item>) => [number, number];
}

const HISTORY: Listing<Entry> = {
  whole: (on) => historyOf(on, "b01", "k", scope()),
  list: (on, request) => on.history("b01", "k", request, scope()),
  limitMax: 64,
  line: ({ revision, value }) => `${revision} ${createHash("sha1").update(value).digest("hex")}`,
  sizes: ({ items, nextPageToken }) =>
    sizesOf(
      GetHistoryResponseSchema,
      create(GetHistoryResponseSchema, { entries: items.map(entryMessage), nextPageToken }),
    ),
};
const LISTED_KEYS: Listing<string> = {
  whole: () => Promise.resolve(KEYS),
  list: (on, request) => on.listKeys("b00", [], request, scope()),
  limitMax: 10_000,
  line: (key) => key,
  sizes: ({ items, nextPageToken }) =>
    sizesOf(ListKeysResponseSchema, create(ListKeysResponseSchema, { keys: [...items], nextPageToken })),
};
const LISTED_BUCKETS: Listing<BucketInfo> = {
  whole: async (on) => (await on.listBuckets({ limit: 0, pageToken: "" }, scope())).items,
  list: (on, request) => on.listBuckets(request, scope()),
  limitMax: 1_000,
  line: ({ name }) => name,
  sizes: ({ items, nextPageToken }) =>
    sizesOf(
      ListBucketsResponseSchema,
      create(ListBucketsResponseSchema, { buckets: items.map(bucketMessage), nextPageToken }),
    ),
};

/** Every page size that matters: any bytes, and limits around what is there. */
const pageSizes = fc.record({
  pageBytesMax: fc.integer(PAGE_BYTES),
  limit: fc.oneof(fc.constant(0), fc.integer({ min: 5, max: 64 })),
});

async function checkListing<Item>({ whole, list, limitMax, line, sizes }: Listing<Item>): Promise<void> {
  const expected = (await whole(store)).map(line);
  expect(expected.length).toBeGreaterThan(20);
  await fc.assert(
    fc.asyncProperty(pageSizes, async ({ pageBytesMax, limit }) => {
      const limited = await storeWith(pageBytesMax);
      // The first page of a history has a limit, or it would have to be the whole.
      const asked = limit === 0 ? limitMax : limit;
      const pages = await pagesOf((request) => list(limited, request), asked);
      expect(pages.flatMap((page) => page.items.map(line))).toEqual(expected);
      for (const page of pages) {
        expect(page.items.length).toBeGreaterThan(0);
        expect(page.items.length).toBeLessThanOrEqual(asked);
        if (page.items.length > 1) expect(Math.max(...sizes(page))).toBeLessThanOrEqual(pageBytesMax);
      }
    }),
    { numRuns: 20 },
  );
}

describe("pages together are the whole, each within its limits, at every page size:", () => {
  it("keys", () => checkListing(LISTED_KEYS));
  it("a history", () => checkListing(HISTORY));
  it("buckets", () => checkListing(LISTED_BUCKETS));
});

describe("a history", () => {
  it("that does not fit into one answer is refused as a whole", async () => {
    const small = await storeWith(PAGE_BYTES.min);
    await expectRefusal(historyOf(small, "b01", "k", scope()), "answer_too_large");
  });

  it("continues after keys removed between two pages, and includes keys added", async () => {
    await store.createBucket({ name: "moving", history: 4 }, scope());
    const put = (): Promise<bigint> => store.put("moving", "k", new Uint8Array(1), {}, scope());
    const revisions = ({ items }: Page<Entry>): bigint[] => items.map((entry) => entry.revision);
    for (let count = 0; count < 4; count++) await put();
    const first = await store.history("moving", "k", { limit: 1, pageToken: "" }, scope());
    expect(revisions(first)).toEqual([1n]);
    await put();
    await put();
    const second = await store.history("moving", "k", { limit: 3, pageToken: first.nextPageToken }, scope());
    expect(revisions(second)).toEqual([3n, 4n, 5n]);
    await store.delete("moving", "k", { purge: true }, scope());
    const third = await store.history("moving", "k", { limit: 3, pageToken: second.nextPageToken }, scope());
    expect(third.items.map((entry) => entry.operation)).toEqual(["purge"]);
    expect(third.nextPageToken).toBe("");
  });

  it("with one entry that is over the limit alone has it on a page of its own", async () => {
    await store.createBucket({ name: "large", history: 4 }, scope());
    for (const size of [10, 100_000, 10]) await store.put("large", "k", new Uint8Array(size), {}, scope());
    const small = await storeWith(PAGE_BYTES.min);
    const pages = await pagesOf((request) => small.history("large", "k", request, scope()), 64);
    expect(pages.map(({ items }) => items.map((entry) => entry.value.length))).toEqual([
      [10],
      [100_000],
      [10],
    ]);
  });
});
