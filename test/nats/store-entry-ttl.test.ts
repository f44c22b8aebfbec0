/** Entries with a TTL of their own and metadata, and Touch. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { describe, expect } from "vitest";
import { streamName, subjectOf, subjectPrefix } from "../../src/kv/names.js";
import type { Entry } from "../../src/kv/entry.js";
import type { Store } from "../../src/kv/store.js";
import { needsServer } from "../support/nats-program.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, expectRefusal, historyOf, newBucketName, scope, text } from "./store-contract.js";
import { read } from "./watching.js";

const it = storeTest({ bucket: {} });
const METADATA = { author: "Ann", "content.hash": "a=b&c%20d", note: " grüße \r\n…\u00a0", x: "" };

const get = (store: Store, bucket: string, key: string): Promise<Entry> =>
  store.get(bucket, key, 0n, scope());

async function expectGone(store: Store, bucket: string, key: string): Promise<void> {
  await expectRefusal(get(store, bucket, key), "key_not_found");
  expect((await store.listKeys(bucket, [key], { limit: 0, pageToken: "" }, scope())).items).toEqual([]);
}

/** Publishes as another program does. */
async function publish(
  connection: NatsConnection,
  subject: string,
  value: string,
  fields: Record<string, string>,
): Promise<void> {
  const block = headers();
  for (const [name, field] of Object.entries(fields)) block.set(name, field);
  await jetstream(connection).publish(subject, value, { headers: block });
}

describe("a value with a TTL of its own", () => {
  it("says when it expires, expires then, and watches are told", async ({ store, bucket, hubs }) => {
    const watch = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    await store.put(bucket, "k", bytes("1"), { ttlMs: 1_000 }, scope());
    const entry = await get(store, bucket, "k");
    expect(entry.expiresAtMs).toBe(entry.createdAtMs + 1_000);
    expect(await read(watch, 2)).toEqual(["put k=1 @1", "expire k @2"]);
    // The storage removed it within a second or two, although markers of the bucket live for minutes.
    const marker = (await historyOf(store, bucket, "k", scope())).at(-1);
    expect(marker).toMatchObject({ operation: "expire", expiresAtMs: undefined });
    await expectGone(store, bucket, "k");
    await watch.return();
  });

  it("has fractions of a second rounded up", async ({ store, bucket }) => {
    await store.put(bucket, "k", bytes("1"), { ttlMs: 1_001 }, scope());
    const { createdAtMs, expiresAtMs } = await get(store, bucket, "k");
    expect(expiresAtMs).toBe(createdAtMs + 2_000);
  });

  it.for([0, -1, 999, 1e15, Number.NaN])(
    "is refused with a TTL of %d ms",
    async (ttlMs, { store, bucket }) => {
      const error = await expectRefusal(
        store.put(bucket, "k", bytes("1"), { ttlMs }, scope()),
        "invalid_argument",
      );
      expect(error.message).toContain("must be 1 to 3153600000 seconds");
    },
  );

  it("is shown in snapshots and histories with its end", async ({ store, bucket, hubs }) => {
    await store.put(bucket, "k", bytes("1"), { ttlMs: 60_000, metadata: METADATA }, scope());
    const expected = { metadata: METADATA, expiresAtMs: expect.any(Number) as number };
    expect(await historyOf(store, bucket, "k", scope())).toMatchObject([expected]);
    for (const keysOnly of [false, true]) {
      const watch = await hubs.watch(bucket, { filters: [], start: "snapshot", keysOnly }, scope());
      expect((await watch.next()).value).toMatchObject({ type: "change", entry: expected });
      await watch.return();
    }
  });

  it("lives no longer than the bucket's ttl", async ({ store }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, ttlMs: 1_000 }, scope());
    await store.put(bucket, "k", bytes("1"), { ttlMs: 60_000 }, scope());
    const watch = await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
    expect(watch.items).toEqual(["k"]);
    const { createdAtMs } = await get(store, bucket, "k");
    for (;;) {
      const found = await get(store, bucket, "k").catch(() => undefined);
      if (found === undefined) break;
      expect(Date.now()).toBeLessThan(createdAtMs + 30_000);
    }
  });

  it("loses its TTL with the next put", async ({ store, bucket }) => {
    await store.put(bucket, "k", bytes("1"), { ttlMs: 60_000 }, scope());
    await store.put(bucket, "k", bytes("2"), {}, scope());
    expect((await get(store, bucket, "k")).expiresAtMs).toBeUndefined();
  });

  it("is refused in a history of several revisions, also right after it became one", async ({ store }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, history: 2 }, scope());
    const put = (): Promise<bigint> => store.put(bucket, "k", bytes("1"), { ttlMs: 1_000 }, scope());
    expect((await expectRefusal(put(), "ttl_not_supported")).message).toContain("a history of 1");
    await store.updateBucket(bucket, { history: 1 }, scope());
    expect(await put()).toBe(1n);
    await store.updateBucket(bucket, { history: 3 }, scope());
    await expectRefusal(put(), "ttl_not_supported");
  });

  it("leaves no earlier value, even where another copy deepens the history meanwhile", async ({
    store,
    otherCopy,
    bucket,
  }) => {
    await store.put(bucket, "k", bytes("old"), {}, scope());
    await otherCopy.store.updateBucket(bucket, { history: 5 }, scope());
    // The first copy remembers for up to a second that the history is 1.
    const outcome = await store.put(bucket, "k", bytes("new"), { ttlMs: 1_000 }, scope()).catch(() => 0n);
    if (outcome === 0n) return;
    expect((await historyOf(store, bucket, "k", scope())).map(({ revision }) => revision)).toEqual([outcome]);
  });

  it("is created where an earlier one has expired, and not before", async ({ store, bucket }) => {
    const create = (): Promise<bigint> =>
      store.put(bucket, "k", bytes("1"), { ttlMs: 1_000, condition: "if_absent" }, scope());
    await create();
    await expectRefusal(create(), "key_exists");
    const { expiresAtMs = 0 } = await get(store, bucket, "k");
    for (;;) {
      if ((await create().catch(() => 0n)) > 0n) break;
    }
    const { createdAtMs } = await get(store, bucket, "k");
    expect(createdAtMs).toBeGreaterThanOrEqual(expiresAtMs);
  });

  it("is written to the bucket of a program that allowed no TTLs", async ({ store, connection }) => {
    const bucket = newBucketName();
    const manager = await jetstreamManager(connection);
    const name = streamName(bucket);
    const subjects = [`${subjectPrefix(bucket)}>`];
    await manager.streams.add({ name, subjects, allow_direct: true, max_msgs_per_subject: 1 });
    await store.put(bucket, "k", bytes("1"), { ttlMs: 60_000 }, scope());
    expect((await get(store, bucket, "k")).expiresAtMs).toBeDefined();
    expect((await manager.streams.info(name)).config.allow_msg_ttl).toBe(true);
  });

  it("distinguishes requests with the same idempotency key", async ({ store, bucket }) => {
    const put = (options: object): Promise<bigint> =>
      store.put(bucket, "k", bytes("1"), { idempotencyKey: "i", ...options }, scope());
    const revision = await put({ ttlMs: 60_000, metadata: { a: "1" } });
    expect(await put({ ttlMs: 60_000, metadata: { a: "1" } })).toBe(revision);
    await expectRefusal(put({ ttlMs: 61_000, metadata: { a: "1" } }), "idempotency_key_reused");
    await expectRefusal(put({ ttlMs: 60_000, metadata: { a: "2" } }), "idempotency_key_reused");
    await expectRefusal(put({}), "idempotency_key_reused");
  });
});

describe("values with a TTL that wait for each other", needsServer("2.15.1"), () => {
  it("are written as batches, each with its own TTL", async ({ store, bucket }) => {
    const before = store.groupCommits()?.writes ?? 0;
    const keys = Array.from({ length: 200 }, (_, index) => `k${index}`);
    await Promise.all(
      keys.map((key, index) => {
        const options = index % 2 === 0 ? { ttlMs: 1_000 * (60 + index) } : {};
        return store.put(
          bucket,
          key,
          bytes("1"),
          { ...options, metadata: { index: String(index) } },
          scope(),
        );
      }),
    );
    expect((store.groupCommits()?.writes ?? 0) - before).toBeGreaterThan(0);
    for (const [index, key] of keys.entries()) {
      const entry = await get(store, bucket, key);
      const lifeMs = entry.expiresAtMs === undefined ? 0 : entry.expiresAtMs - entry.createdAtMs;
      expect(lifeMs).toBe(index % 2 === 0 ? 1_000 * (60 + index) : 0);
      expect(entry.metadata).toEqual({ index: String(index) });
    }
  });
});

describe("metadata", () => {
  it("comes back as it was sent", async ({ store, bucket }) => {
    await store.put(bucket, "k", bytes("1"), { metadata: METADATA, contentType: "text/plain" }, scope());
    expect(await get(store, bucket, "k")).toMatchObject({ metadata: METADATA, contentType: "text/plain" });
    await store.put(bucket, "k", bytes("1"), { metadata: {} }, scope());
    expect((await get(store, bucket, "k")).metadata).toBeUndefined();
  });

  it.for([
    [
      "too many pairs",
      Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`n${index}`, ""])),
      "33 pairs",
    ],
    ["too many bytes", { a: "é".repeat(1_024) }, "2049 bytes"],
    ["an upper-case name", { Author: "" }, '"Author" is malformed'],
    ["an empty name", { "": "" }, '"" is malformed'],
    ["a name with a space", { "a b": "" }, '"a b" is malformed'],
    ["a name that is too long", { ["a".repeat(65)]: "" }, "is malformed"],
    ["a lone surrogate", { a: "\ud800" }, "lone surrogate"],
  ] as const)("is refused with %s", async ([, metadata, sentence], { store, bucket }) => {
    const error = await expectRefusal(
      store.put(bucket, "k", bytes("1"), { metadata }, scope()),
      "invalid_argument",
    );
    expect(error.message).toContain(sentence);
  });

  it("counts towards the largest value, and fits at the limits", async ({ store }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, maxValueSize: 100 }, scope());
    const put = (length: number): Promise<bigint> =>
      store.put(bucket, "k", new Uint8Array(length), { metadata: { a: "b" } }, scope());
    const error = await expectRefusal(put(100), "value_too_large");
    expect(error.message).toMatch(
      /100 bytes with \d+ bytes of metadata; the bucket takes at most 100 in all/,
    );
    const metadataBytes = Number(/with (\d+) bytes/.exec(error.message)?.[1]);
    expect(await put(100 - metadataBytes)).toBe(1n);
    const most = { a: "\u0001".repeat(2_047) };
    await store.updateBucket(bucket, { maxValueSize: 0 }, scope());
    await store.put(bucket, "k", bytes(""), { metadata: most }, scope());
    expect((await get(store, bucket, "k")).metadata).toEqual(most);
  });

  it("of another program is shown where it is valid, and never breaks a read", async ({
    store,
    bucket,
    connection,
  }) => {
    const fields = { "Ironflow-Metadata": "ok=1&Bad Name=2&__proto__=3&=4&novalue&a=%zz%41&" };
    await publish(connection, subjectOf(bucket, "k"), "1", fields);
    expect((await get(store, bucket, "k")).metadata).toEqual({ ok: "1", a: "%zzA" });
  });
});

describe("touch", () => {
  it("gives a key another TTL, and leaves the rest as it is", async ({ store, bucket }) => {
    const options = { contentType: "text/plain", metadata: METADATA, ttlMs: 60_000 };
    await store.put(bucket, "k", bytes("v"), options, scope());
    const rest = { contentType: "text/plain", metadata: METADATA };
    expect(await store.touch(bucket, "k", { ttlMs: 90_000 }, scope())).toBe(2n);
    const touched = await get(store, bucket, "k");
    expect(touched).toMatchObject({ ...rest, revision: 2n });
    expect(touched.expiresAtMs).toBe(touched.createdAtMs + 90_000);
    expect(await store.touch(bucket, "k", { ifRevision: 2n }, scope())).toBe(3n);
    const kept = await get(store, bucket, "k");
    expect([text(kept.value), kept]).toMatchObject(["v", { ...rest, revision: 3n }]);
    expect(kept.expiresAtMs).toBeUndefined();
  });

  it("is refused without a value, on another revision, and with a deep history", async ({
    store,
    bucket,
  }) => {
    const touch = (options: object = {}): Promise<bigint> => store.touch(bucket, "k", options, scope());
    await expectRefusal(touch(), "key_not_found");
    await expectRefusal(touch({ ifRevision: 1n }), "key_not_found");
    await store.put(bucket, "k", bytes("1"), {}, scope());
    await expectRefusal(touch({ ifRevision: 7n }), "revision_mismatch", 1n);
    await expectRefusal(touch({ ttlMs: 5 }), "invalid_argument");
    await store.delete(bucket, "k", {}, scope());
    await expectRefusal(touch(), "key_not_found");
    await expectRefusal(touch({ ifRevision: 2n }), "key_not_found");
    await store.updateBucket(bucket, { history: 2 }, scope());
    await store.put(bucket, "k", bytes("1"), {}, scope());
    await expectRefusal(touch({ ttlMs: 1_000 }), "ttl_not_supported");
    expect(await touch()).toBe(4n);
  });

  it("never undoes a put that comes in between", async ({ store, otherCopy, bucket }) => {
    await store.put(bucket, "k", bytes("0"), {}, scope());
    let newest = 0;
    const puts = async (): Promise<void> => {
      for (newest = 1; newest <= 40; newest++)
        await otherCopy.store.put(bucket, "k", bytes(String(newest)), {}, scope());
    };
    const touches = async (): Promise<void> => {
      for (let count = 0; count < 40; count++) await store.touch(bucket, "k", { ttlMs: 60_000 }, scope());
    };
    await Promise.all([puts(), touches(), touches()]);
    expect(text((await get(store, bucket, "k")).value)).toBe("40");
  });

  it("is applied once for an idempotency key", async ({ store, otherCopy, bucket }) => {
    await store.put(bucket, "k", bytes("1"), {}, scope());
    const touch = (copy: Store, ttlMs?: number): Promise<bigint> =>
      copy.touch(bucket, "k", { ttlMs, idempotencyKey: "t" }, scope());
    expect(await touch(store, 60_000)).toBe(2n);
    expect(await touch(store, 60_000)).toBe(2n);
    expect(await touch(otherCopy.store, 60_000)).toBe(2n);
    await expectRefusal(touch(otherCopy.store, 61_000), "idempotency_key_reused");
  });

  it("renews a key for as long as it is repeated", async ({ store, bucket }) => {
    await store.put(bucket, "k", bytes("1"), { ttlMs: 1_000 }, scope());
    const { createdAtMs } = await get(store, bucket, "k");
    for (;;) {
      await store.touch(bucket, "k", { ttlMs: 2_000 }, scope());
      if ((await get(store, bucket, "k")).createdAtMs > createdAtMs + 2_500) return;
    }
  });
});

describe("imported entries", () => {
  const entry = { key: "k", value: bytes("1"), operation: "put", contentType: "" } as const;

  it("have the TTL that is left, and their metadata", async ({ store, bucket }) => {
    const expiresAtMs = Date.now() + 60_000;
    await store.importEntries(bucket, 0n, [{ ...entry, expiresAtMs, metadata: METADATA }], scope());
    const found = await get(store, bucket, "k");
    expect(found.metadata).toEqual(METADATA);
    expect(Math.abs((found.expiresAtMs ?? 0) - expiresAtMs)).toBeLessThan(30_000);
  });

  it("whose time is over are purges", async ({ store, bucket }) => {
    const entries = [{ ...entry, expiresAtMs: Date.now() - 1 }];
    expect(await store.importEntries(bucket, 0n, entries, scope())).toMatchObject({ imported: 1 });
    await expectGone(store, bucket, "k");
    expect(await historyOf(store, bucket, "k", scope())).toMatchObject([{ operation: "purge" }]);
  });

  it("with a TTL are refused in a history of several revisions", async ({ store }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, history: 2 }, scope());
    const lasting = { ...entry, expiresAtMs: Date.now() + 60_000 };
    const write = (after: bigint, entries: readonly (typeof entry)[]) =>
      store.importEntries(bucket, after, entries, scope());
    expect(await write(0n, [entry, lasting, entry])).toMatchObject({ imported: 1 });
    await expectRefusal(write(1n, [lasting, entry]), "ttl_not_supported");
  });
});
