/** Other programs on the same NATS: older and newer clients of NATS KV see what we wrote, and we see what they wrote. */
import { Kvm } from "@nats-io/kv";
import { jetstreamManager, StoreCompression } from "@nats-io/jetstream";
import * as older from "nats";
import { describe, expect, vi } from "vitest";
import { storeTest } from "../support/fixtures.js";
import { bytes, expectRefusal, historyOf, scope, text } from "./store-contract.js";
import { WAIT } from "../support/until.js";

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

const it = storeTest()
  /** A connection of the older client library. */
  .extend("olderConnection", { scope: "file" }, async ({ server }, { onCleanup }) => {
    const connection = await older.connect({ servers: server.url });
    onCleanup(() => connection.close());
    return connection;
  })
  .extend("allKeys", ({ store, bucket }) => async (): Promise<readonly string[]> => {
    return (await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items;
  })
  .extend("streamConfig", ({ open, bucket }) => async (): Promise<object> => {
    return (await (await jetstreamManager(open.connection)).streams.info(`KV_APP_${bucket}`)).config;
  });

describe("an older client of NATS KV (nats 2.x)", () => {
  const itSees = it.extend("kv", async ({ store, bucket, olderConnection }): Promise<older.KV> => {
    await store.createBucket({ name: bucket, history: 3 }, scope());
    return olderConnection.jetstream().views.kv(`APP_${bucket}`, { bindOnly: true });
  });

  itSees("sees what we put, deleted and purged", async ({ store, bucket, kv }) => {
    await store.put(bucket, "user.1", bytes("one"), { contentType: "text/plain" }, scope());
    await store.put(bucket, "user:2", bytes("two"), {}, scope());
    await store.put(bucket, "gone", bytes("x"), {}, scope());
    await store.put(bucket, "purged", bytes("x"), {}, scope());
    await store.delete(bucket, "gone", {}, scope());
    await store.delete(bucket, "purged", { purge: true }, scope());
    expect((await kv.get("user.1"))?.string()).toBe("one");
    expect((await kv.get("user=3A2"))?.string()).toBe("two");
    expect((await kv.get("gone"))?.operation).toBe("DEL");
    expect((await kv.get("purged"))?.operation).toBe("PURGE");
    expect((await collect(await kv.keys())).sort()).toEqual(["user.1", "user=3A2"]);
    expect((await collect(await kv.history({ key: "gone" }))).map((entry) => entry.operation)).toEqual([
      "PUT",
      "DEL",
    ]);
  });

  itSees("writes what we see, and conditions hold on both sides", async ({ store, bucket, kv, allKeys }) => {
    const revision = await kv.put("a.b", "one");
    expect(await store.get(bucket, "a.b", 0n, scope())).toMatchObject({
      revision: BigInt(revision),
      operation: "put",
    });
    await kv.update("a.b", "two", revision);
    expect((await historyOf(store, bucket, "a.b", scope())).map((entry) => text(entry.value))).toEqual([
      "one",
      "two",
    ]);
    await expectRefusal(
      store.put(bucket, "a.b", bytes(""), { condition: "if_absent" }, scope()),
      "key_exists",
      2n,
    );
    await kv.delete("a.b");
    await expectRefusal(store.get(bucket, "a.b", 0n, scope()), "key_not_found");
    expect(await store.delete(bucket, "a.b", {}, scope())).toBe(0n);
    expect(await store.put(bucket, "a.b", bytes("three"), { condition: "if_absent" }, scope())).toBe(4n);
    await kv.purge("a.b");
    expect((await historyOf(store, bucket, "a.b", scope())).map((entry) => entry.operation)).toEqual([
      "purge",
    ]);
    await expect(kv.create("a.b", "four")).resolves.toBe(6);
    expect(await allKeys()).toEqual(["a.b"]);
  });
});

describe("a bucket of ours", () => {
  it("is configured as NATS KV clients do it", async ({ store, bucket, streamConfig }) => {
    await store.createBucket(
      { name: bucket, history: 3, ttlMs: 60_000, maxBytes: 10_000, description: "d" },
      scope(),
    );
    expect(await streamConfig()).toMatchObject({
      subjects: [`$KV.APP_${bucket}.>`],
      retention: "limits",
      storage: "file",
      discard: "new",
      max_msgs_per_subject: 3,
      max_age: 60_000_000_000,
      duplicate_window: 60_000_000_000,
      // With headroom for tombstones and markers.
      max_bytes: 10_000 * 1.5 + 65_536,
      max_msg_size: -1,
      max_consumers: -1,
      num_replicas: 1,
      allow_rollup_hdrs: true,
      deny_delete: true,
      allow_direct: true,
      allow_msg_ttl: true,
      description: "d",
    });
  });

  it("is opened and listed by a newer client", async ({ store, open, bucket }) => {
    await store.createBucket({ name: bucket }, scope());
    const kvm = new Kvm(open.connection);
    const kv = await kvm.create(`APP_${bucket}`);
    await kv.put("k", "v");
    expect(text((await store.get(bucket, "k", 0n, scope())).value)).toBe("v");
    const names = (await collect(kvm.list())).map((status) => status.bucket);
    expect(names).toContain(`APP_${bucket}`);
  });
});

describe("a bucket that another program created", () => {
  it.for([true, false])(
    "works as one of ours does (direct gets: %s)",
    async (allowDirect, { store, open, bucket }) => {
      const kv = await new Kvm(open.connection).create(`APP_${bucket}`, {
        history: 4,
        allow_direct: allowDirect,
        maxValueSize: 500,
        max_bytes: 100_000,
        ttl: 3_600_000,
        description: "theirs",
      });
      await kv.put("a", "1");
      expect(await store.getBucket(bucket, scope())).toMatchObject({
        name: bucket,
        history: 4,
        maxValueSize: 500,
        maxBytes: 100_000,
        ttlMs: 3_600_000,
        description: "theirs",
        values: 1,
      });
      expect(await store.put(bucket, "a", bytes("2"), {}, scope())).toBe(2n);
      expect(text((await store.get(bucket, "a", 0n, scope())).value)).toBe("2");
      expect(text((await store.get(bucket, "a", 1n, scope())).value)).toBe("1");
      await expectRefusal(store.get(bucket, "b", 0n, scope()), "key_not_found");
      expect(await historyOf(store, bucket, "a", scope())).toHaveLength(2);
      await expectRefusal(store.put(bucket, "a", Buffer.alloc(501), {}, scope()), "value_too_large");
      await expectRefusal(store.put(bucket, "a", Buffer.alloc(500), {}, scope()), "value_too_large");
      const changed = await store.updateBucket(bucket, { maxValueSize: 500, ttlMs: 60_000 }, scope());
      expect(changed).toMatchObject({ maxValueSize: 500, ttlMs: 60_000, values: 1 });
      await store.put(bucket, "a", Buffer.alloc(500), {}, scope());
      await expectRefusal(store.createBucket({ name: bucket }, scope()), "bucket_exists");
      expect(
        (await store.listBuckets({ limit: 0, pageToken: "" }, scope())).items.map((info) => info.name),
      ).toContain(bucket);
      await store.deleteBucket(bucket, scope());
    },
  );

  it("keeps what only others know of through an update", async ({ store, open, bucket, streamConfig }) => {
    const manager = await jetstreamManager(open.connection);
    await manager.streams.add({
      name: `KV_APP_${bucket}`,
      subjects: [`$KV.APP_${bucket}.>`],
      max_msgs_per_subject: 1,
      metadata: { theirs: "yes" },
      compression: StoreCompression.S2,
    });
    await store.updateBucket(bucket, { history: 2, maxValueSize: 9 }, scope());
    expect(await streamConfig()).toMatchObject({
      compression: "s2",
      metadata: { theirs: "yes" },
      max_msgs_per_subject: 2,
    });
  });

  it("hides entries whose key no key of ours is stored as, everywhere alike", async ({
    store,
    open,
    bucket,
    allKeys,
  }) => {
    await store.createBucket({ name: bucket }, scope());
    for (const stored of ["plain", "a=b", "a=3a", "=41", "=FF", "x=2E", "=2E"]) {
      open.connection.publish(`$KV.APP_${bucket}.${stored}`, "v");
    }
    await open.connection.flush();
    await vi.waitFor(async () => expect((await store.getBucket(bucket, scope())).revision).toBe(7n), WAIT);
    expect(await allKeys()).toEqual([".", "plain", "x."]);
    expect((await store.getBucket(bucket, scope())).values).toBe(3);
  });

  it("does not let a writer's headers pass for the storage's own", async ({ store, open, bucket }) => {
    await store.createBucket({ name: bucket }, scope());
    const kv = await new Kvm(open.connection).open(`APP_${bucket}`);
    const { headers } = await import("@nats-io/transport-node");
    const forged = headers();
    forged.set("Nats-Sequence", "99");
    forged.set("Nats-Subject", `$KV.APP_${bucket}.other`);
    forged.set("Nats-Time-Stamp", "2001-01-01T00:00:00Z");
    await open.connection.request(`$KV.APP_${bucket}.k`, "v", { headers: forged, timeout: 60_000 });
    const entry = await store.get(bucket, "k", 1n, scope());
    expect(entry).toMatchObject({ key: "k", revision: 1n });
    expect(entry.createdAtMs).toBeGreaterThan(Date.parse("2020-01-01"));
    expect((await kv.get("k"))?.string()).toBe("v");
  });

  it.for(["SYS_secrets", "OTHER_x", "x"])(
    "is out of reach when it is not a user's: KV_%s",
    async (name, { store, open }) => {
      const kv = await new Kvm(open.connection).create(name);
      await kv.put("k", "v");
      const listed = (await store.listBuckets({ limit: 0, pageToken: "" }, scope())).items.map(
        (info) => info.name,
      );
      expect(listed).not.toContain(name);
      await expectRefusal(store.get(name, "k", 0n, scope()), "bucket_not_found");
      await expectRefusal(store.deleteBucket(name, scope()), "bucket_not_found");
    },
  );
});

describe("entries that outlived their bucket's ttl", () => {
  it("are gone for us and for older clients, and their keys are free", async ({
    store,
    bucket,
    allKeys,
    olderConnection,
  }) => {
    await store.createBucket({ name: bucket, ttlMs: 1_000, history: 2 }, scope());
    const kv = await olderConnection.jetstream().views.kv(`APP_${bucket}`, { bindOnly: true });
    await store.put(bucket, "k", bytes("v"), {}, scope());
    await store.put(bucket, "deleted", bytes("v"), {}, scope());
    await store.delete(bucket, "deleted", {}, scope());
    await vi.waitFor(() => expectRefusal(store.get(bucket, "k", 0n, scope()), "key_not_found"), WAIT);
    expect((await store.getBucket(bucket, scope())).values).toBe(0);
    expect(await allKeys()).toEqual([]);
    // The storage leaves the marker when it removes the value, which reads do not wait for.
    const operations = async (): Promise<string[]> =>
      (await historyOf(store, bucket, "k", scope())).map(({ operation }) => operation);
    await vi.waitFor(async () => expect(await operations()).toEqual(["expire"]), WAIT);
    expect(await store.delete(bucket, "k", {}, scope())).toBe(0n);
    expect(await store.delete(bucket, "k", { purge: true }, scope())).toBe(0n);
    // The marker that tells watches of it lives for a second, in which older clients take it for an empty value.
    await vi.waitFor(async () => expect(await kv.get("k")).toBeNull(), WAIT);
    await expectRefusal(historyOf(store, bucket, "k", scope()), "key_not_found");
    await store.put(bucket, "k", bytes("again"), { condition: "if_absent" }, scope());
    expect(await allKeys()).toEqual(["k"]);
  });

  it("leave a marker that a new value may replace", async ({ store, bucket }) => {
    await store.createBucket({ name: bucket, ttlMs: 1_000 }, scope());
    await store.put(bucket, "k", bytes("v"), {}, scope());
    await vi.waitFor(() => expectRefusal(store.get(bucket, "k", 0n, scope()), "key_not_found"), WAIT);
    await expectRefusal(
      store.put(bucket, "k", bytes("v"), { condition: { ifRevision: 1n } }, scope()),
      "revision_mismatch",
    );
    expect(await store.put(bucket, "k", bytes("v"), { condition: "if_absent" }, scope())).toBeGreaterThan(1n);
  });
});

describe("the server's resources", () => {
  it("are free again after every kind of call", async ({ store, open, bucket, allKeys }) => {
    await store.createBucket({ name: bucket, history: 3 }, scope());
    for (let count = 0; count < 50; count++) await store.put(bucket, `k.${count}`, bytes("v"), {}, scope());
    await allKeys();
    await store.listKeys(bucket, ["k.1*", "k.*"], { limit: 3, pageToken: "" }, scope());
    await store.getBucket(bucket, scope());
    await historyOf(store, bucket, "k.1", scope());
    await expectRefusal(
      store.listKeys(bucket, ["k.*"], { limit: 0, pageToken: "" }, scope(1)),
      "deadline_exceeded",
    ).catch(() => undefined);
    const manager = await jetstreamManager(open.connection);
    await vi.waitFor(
      async () => expect((await manager.streams.info(`KV_APP_${bucket}`)).state.consumer_count).toBe(0),
      WAIT,
    );
  });
});
