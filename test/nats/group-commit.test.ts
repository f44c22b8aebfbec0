/** Group commit: writes that wait leave as one atomic batch, and each has the outcome that it would have had alone. */
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { describe, expect } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import type { Store } from "../../src/kv/store.js";
import type { GroupCommitStats } from "../../src/kv/store-stats.js";
import type { StreamInfo } from "../../src/nats/client/jetstream-api.js";
import { needsServer } from "../support/nats-program.js";
import { storeTest } from "../support/fixtures.js";
import { succeeds, until } from "../support/until.js";
import { holdRequests } from "./held-requests.js";
import { bytes, expectRefusal, historyOf, refusal, scope, text } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { relayAs } from "./version-relay.js";

const COMMIT = "Nats-Batch-Commit";
const it = storeTest({ ownServer: {}, bucket: {} });
const withHistory = storeTest({ ownServer: {}, bucket: { history: 64 } });

const count = (length: number): readonly number[] => Array.from({ length }, (_, index) => index);

function stats(store: Store): GroupCommitStats {
  const found = store.groupCommits();
  if (found === undefined) throw new Error("group commit is off");
  return { ...found };
}

function putAll(store: Store, bucket: string, keys: readonly string[]): Promise<bigint[]> {
  return Promise.all(keys.map((key) => store.put(bucket, key, bytes(`of ${key}`), {}, scope())));
}

async function valueOf(store: Store, bucket: string, key: string): Promise<string> {
  return text((await store.get(bucket, key, 0n, scope())).value);
}

/** Expects that each key has exactly one revision, the one that its write returned. */
async function expectWrittenOnce(
  store: Store,
  bucket: string,
  keys: readonly string[],
  revisions: readonly bigint[],
): Promise<void> {
  for (const [index, key] of keys.entries()) {
    const history = await historyOf(store, bucket, key, scope());
    expect(history.map(({ revision }) => revision)).toEqual([revisions[index]]);
  }
}

const keysOf = (length: number, prefix = "k"): string[] => count(length).map((n) => `${prefix}${n}`);

describe("group commit", needsServer("2.15.1"), () => {
  it("gives writes that wait consecutive revisions, each its own", async ({ store, bucket }) => {
    const before = stats(store);
    const keys = keysOf(300);
    const revisions = await putAll(store, bucket, keys);
    expect([...revisions].sort((a, b) => Number(a - b))).toEqual(count(300).map((n) => BigInt(n + 1)));
    for (const [index, key] of keys.entries()) {
      const entry = await store.get(bucket, key, 0n, scope());
      expect([entry.revision, text(entry.value)]).toEqual([revisions[index], `of ${key}`]);
    }
    const { batches, writes } = stats(store);
    expect(writes - before.writes).toBeGreaterThan(250);
    expect(batches - before.batches).toBeLessThan(20);
  });

  it("sends a lone write as a single message", async ({ store, bucket, open }) => {
    const before = stats(store);
    await store.put(bucket, "a", bytes("1"), {}, scope());
    expect(stats(store)).toEqual(before);
    const message = await open.connection.request(
      `$JS.API.DIRECT.GET.${streamName(bucket)}.${subjectPrefix(bucket)}a`,
    );
    expect(message.headers?.get("Nats-Batch-Id")).toBe("");
  });

  it("splits what exceeds a batch's messages or bytes", async ({ store, bucket }) => {
    const before = stats(store);
    expect(new Set(await putAll(store, bucket, keysOf(2_500))).size).toBe(2_500);
    const large = Buffer.alloc(300_000, "x");
    await Promise.all(keysOf(60, "large").map((key) => store.put(bucket, key, large, {}, scope())));
    expect((await store.get(bucket, "large59", 0n, scope())).value.length).toBe(large.length);
    expect(stats(store).refused).toBe(before.refused);
    expect(stats(store).batches - before.batches).toBeGreaterThanOrEqual(5);
  });

  withHistory("keeps the order of the writes of a key", async ({ store, bucket }) => {
    // Reads what writes need to know of the bucket: then nothing reorders them before they are sent.
    await store.put(bucket, "first", bytes("1"), {}, scope());
    const keys = keysOf(20);
    const written = await Promise.all(
      count(400).map(async (n) => {
        const key = keys[n % 20] as string;
        return { key, n, revision: await store.put(bucket, key, bytes(`${n}`), {}, scope()) };
      }),
    );
    for (const key of keys) {
      const mine = written.filter((write) => write.key === key);
      const history = await historyOf(store, bucket, key, scope());
      const stored = history.map(({ revision, value }) => `${revision}:${text(value)}`).sort();
      expect(stored).toEqual(mine.map(({ revision, n }) => `${revision}:${n}`).sort());
      for (const [index, { revision }] of mine.entries())
        if (index > 0) expect(revision).toBeGreaterThan(mine[index - 1]?.revision ?? 0n);
    }
  });

  it("has for each write the outcome that it has alone, where some are refused", async ({
    store,
    bucket,
  }) => {
    const before = stats(store);
    const revisions = await putAll(store, bucket, keysOf(40));
    const at = (n: number): bigint => revisions[n] ?? 0n;
    const put = (key: string, condition: "if_absent" | { ifRevision: bigint } | "always"): Promise<bigint> =>
      store.put(bucket, key, bytes("new"), { condition }, scope());
    const outcomes = await Promise.allSettled([
      ...keysOf(10, "plain").map((key) => put(key, "always")),
      ...count(10).map((n) => put(`k${n}`, { ifRevision: at(n) })),
      put("k10", { ifRevision: 1_000_000n }),
      put("k11", "if_absent"),
      ...keysOf(30, "created").map((key) => put(key, "if_absent")),
      store.delete(bucket, "k12", {}, scope()),
      store.delete(bucket, "k13", { condition: { ifRevision: 1_000_000n } }, scope()),
      store.delete(bucket, "k14", { purge: true }, scope()),
      store.delete(bucket, "k15", { purge: true, condition: { ifRevision: at(15) } }, scope()),
    ]);
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason as KvError] : [],
    );
    const refusals = refused.map(({ kind, key, revision }) => ({ kind, key, revision }));
    expect(refusals).toEqual([
      { kind: "revision_mismatch", key: "k10", revision: at(10) },
      { kind: "key_exists", key: "k11", revision: at(11) },
      { kind: "revision_mismatch", key: "k13", revision: at(13) },
    ]);
    for (const key of [...keysOf(10, "plain"), ...keysOf(30, "created"), ...keysOf(10)])
      expect(await valueOf(store, bucket, key)).toBe("new");
    for (const n of [10, 11, 13]) expect(await valueOf(store, bucket, `k${n}`)).toBe(`of k${n}`);
    for (const n of [12, 14, 15])
      await expectRefusal(store.get(bucket, `k${n}`, 0n, scope()), "key_not_found");
    expect(stats(store).refused).toBeGreaterThan(before.refused);
  });

  it("has one winner where many create one key", async ({ store, bucket }) => {
    for (const key of keysOf(5)) {
      const outcomes = await Promise.allSettled(
        count(40).map((n) => store.put(bucket, key, bytes(`${n}`), { condition: "if_absent" }, scope())),
      );
      const winners = outcomes.flatMap((outcome, n) => (outcome.status === "fulfilled" ? [n] : []));
      expect(winners).toHaveLength(1);
      expect(await valueOf(store, bucket, key)).toBe(`${winners[0]}`);
    }
  });

  it("loses no increment of counters that two copies increment by conditional writes", async ({
    store,
    otherCopy,
    bucket,
  }) => {
    const keys = keysOf(6, "counter");
    for (const key of keys) await store.put(bucket, key, bytes("0"), {}, scope());
    const increment = async (copy: Store, key: string): Promise<void> => {
      for (;;) {
        const { revision, value } = await copy.get(bucket, key, 0n, scope());
        const next = bytes(`${Number(text(value)) + 1}`);
        try {
          await copy.put(bucket, key, next, { condition: { ifRevision: revision } }, scope());
          return;
        } catch (error) {
          if (!(error instanceof KvError) || error.kind !== "revision_mismatch") throw error;
        }
      }
    };
    const others = count(20).map((n) => putAll(n % 2 === 0 ? store : otherCopy.store, bucket, keysOf(30)));
    await Promise.all([
      ...count(60).flatMap((n) => [
        increment(store, keys[n % 6] as string),
        increment(otherCopy.store, keys[n % 6] as string),
      ]),
      ...others,
    ]);
    for (const key of keys) expect(await valueOf(store, bucket, key)).toBe("20");
  });

  it("leaves out a write that was canceled, and one whose deadline passed, while they waited", async ({
    store,
    bucket,
    open,
  }) => {
    await putAll(store, bucket, keysOf(8));
    const held = holdRequests(open.connection, `${subjectPrefix(bucket)}first`);
    const first = putAll(store, bucket, keysOf(24, "first"));
    await held.seen(24);
    const abort = new AbortController();
    const canceled = refusal(store.put(bucket, "canceled", bytes("x"), {}, scope(60_000, abort.signal)));
    const late = refusal(store.put(bucket, "late", bytes("x"), {}, scope(30)));
    const others = putAll(store, bucket, keysOf(10, "other"));
    abort.abort();
    expect((await late).kind).toBe("deadline_exceeded");
    held.release();
    await Promise.all([first, others]);
    expect((await canceled).kind).toBe("canceled");
    for (const key of ["canceled", "late"])
      await expectRefusal(store.get(bucket, key, 0n, scope()), "key_not_found");
  });

  withHistory(
    "finds out what became of each write when a batch's answer is lost",
    async ({ store, faulty, link, bucket }) => {
      // Reads what writes need to know of the bucket: they would wait for lost answers.
      await faulty.store.put(bucket, "before", bytes("1"), {}, scope());
      const lost = link.loseAnswersTo(COMMIT);
      const written = putAll(faulty.store, bucket, keysOf(150));
      await lost;
      await until("the writes are stored", async () => {
        return (await store.getBucket(bucket, scope())).revision >= 151n;
      });
      link.cut();
      link.heal();
      await expectWrittenOnce(store, bucket, keysOf(150), await written);
    },
  );

  withHistory(
    "applies each write once when a batch is lost on its way",
    async ({ store, faulty, link, bucket }) => {
      await faulty.store.put(bucket, "before", bytes("1"), {}, scope());
      const lost = link.loseRequest(COMMIT);
      const written = putAll(faulty.store, bucket, keysOf(150));
      await lost;
      link.cut();
      link.heal();
      await expectWrittenOnce(store, bucket, keysOf(150), await written);
    },
  );

  withHistory(
    "has the first result of writes that are sent again with their idempotency keys",
    async ({ store, otherCopy, bucket }) => {
      const send = (copy: Store): Promise<bigint[]> =>
        Promise.all(
          keysOf(200).map((key) =>
            copy.put(bucket, key, bytes("v"), { idempotencyKey: `id-${key}` }, scope()),
          ),
        );
      const before = stats(store);
      const first = await send(store);
      expect(stats(store).writes).toBeGreaterThan(before.writes);
      expect(await send(otherCopy.store)).toEqual(first);
      expect(await send(store)).toEqual(first);
      expect((await store.getBucket(bucket, scope())).revision).toBe(200n);
    },
  );

  it("expires the entries of a bucket with a ttl", async ({ store, bucket }) => {
    await store.updateBucket(bucket, { ttlMs: 1_000 }, scope());
    const before = stats(store);
    await putAll(store, bucket, keysOf(200));
    expect(stats(store).writes).toBeGreaterThan(before.writes);
    await until("the entries are gone", async () => {
      return (await store.listKeys(bucket, [], { limit: 1_000, pageToken: "" }, scope())).items.length === 0;
    });
  });

  it("admits exactly what the storage has room for where another program set its limit", async ({
    store,
    bucket,
    connection,
  }) => {
    const { config } = await streamInfo(connection, bucket);
    const body = JSON.stringify({ ...config, max_bytes: 20_000 });
    await connection.request(`$JS.API.STREAM.UPDATE.${streamName(bucket)}`, body);
    const outcomes = await Promise.allSettled(
      keysOf(200).map((key) => store.put(bucket, key, Buffer.alloc(200, "x"), {}, scope())),
    );
    const kinds = new Set(
      outcomes.map((one) => (one.status === "rejected" ? (one.reason as KvError).kind : "stored")),
    );
    expect(kinds).toEqual(new Set(["stored", "bucket_full"]));
    const { state } = await streamInfo(connection, bucket);
    expect(state.messages).toBe(outcomes.filter(({ status }) => status === "fulfilled").length);
    expect(state.bytes).toBeLessThanOrEqual(20_000);
  });

  it("shows a watch every change, in order", async ({ store, bucket, hubs }) => {
    const watch = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    const before = stats(store);
    const written = Promise.all([putAll(store, bucket, keysOf(400)), putAll(store, bucket, keysOf(400))]);
    const seen: bigint[] = [];
    for await (const event of watch)
      if (event.type === "change" && seen.push(event.entry.revision) === 800) break;
    await written;
    expect(seen).toEqual(count(800).map((n) => BigInt(n + 1)));
    expect(stats(store).writes).toBeGreaterThan(before.writes);
  });

  it("configures a bucket of another program when writes first overlap, and no sooner", async ({
    store,
    bucket,
    connection,
  }) => {
    const { config } = await streamInfo(connection, bucket);
    const name = `${bucket}-foreign`;
    const foreign = {
      name: streamName(name),
      subjects: [`${subjectPrefix(name)}>`],
      max_msgs_per_subject: 1,
    };
    const body = JSON.stringify({
      ...config,
      ...foreign,
      republish: undefined,
      allow_atomic: false,
      metadata: {},
    });
    await connection.request(`$JS.API.STREAM.CREATE.${streamName(name)}`, body);
    for (const key of keysOf(5)) await store.put(name, key, bytes("1"), {}, scope());
    expect((await streamInfo(connection, name)).config.allow_atomic ?? false).toBe(false);
    await putAll(store, name, keysOf(200));
    const before = stats(store);
    await until("batches are sent", async () => {
      await putAll(store, name, keysOf(200));
      return stats(store).batches > before.batches;
    });
    expect((await streamInfo(connection, name)).config.allow_atomic).toBe(true);
  });

  it("sends the writes alone while the storage refuses batches", async ({ store, bucket, connection }) => {
    await putAll(store, bucket, keysOf(20));
    const { config } = await streamInfo(connection, bucket);
    const body = JSON.stringify({ ...config, allow_atomic: false });
    await connection.request(`$JS.API.STREAM.UPDATE.${streamName(bucket)}`, body);
    const before = stats(store);
    const revisions = await putAll(store, bucket, keysOf(200));
    expect(new Set(revisions).size).toBe(200);
    expect(stats(store).refused - before.refused).toBeLessThanOrEqual(1);
    await putAll(store, bucket, keysOf(200));
    expect(stats(store).refused - before.refused).toBeLessThanOrEqual(1);
  });

  it("is off with an older server, and where it is set to off", async ({ server, bucket }) => {
    const relay = await relayAs("2.15.0", server.port);
    const old = await openStore(relay.url);
    const off = await openStore(server.url, { groupCommit: false });
    try {
      await putAll(old.store, bucket, keysOf(200));
      await putAll(off.store, bucket, keysOf(200));
      expect(stats(old.store).batches).toBe(0);
      expect(off.store.groupCommits()).toBeUndefined();
      relay.become("2.15.1");
      await until("the store is connected", () => succeeds(old.store.ping(scope(1_000))));
      await until("batches are sent", async () => {
        await putAll(old.store, bucket, keysOf(200));
        return stats(old.store).batches > 0;
      });
    } finally {
      await old.close();
      await off.close();
      await relay.stop();
    }
  });

  it("is not mistaken for a client's own batches in the same bucket", async ({
    store,
    bucket,
    connection,
  }) => {
    const theirs = async (n: number): Promise<void> => {
      for (const index of [1, 2]) {
        const batch = headers();
        batch.set("Nats-Batch-Id", `theirs${n}`);
        batch.set("Nats-Batch-Sequence", `${index}`);
        if (index === 2) batch.set(COMMIT, "1");
        await connection.request(`${subjectPrefix(bucket)}t${n}.${index}`, "t", {
          headers: batch,
          timeout: 60_000,
        });
      }
    };
    const [revisions] = await Promise.all([
      Promise.all(count(10).map((n) => putAll(store, bucket, keysOf(40, `a${n}.`)))),
      Promise.all(count(40).map(theirs)),
    ]);
    for (const [n, each] of revisions.entries())
      for (const [index, key] of keysOf(40, `a${n}.`).entries())
        expect((await store.get(bucket, key, 0n, scope())).revision).toBe(each[index]);
    expect((await store.getBucket(bucket, scope())).revision).toBe(480n);
  });
});

async function streamInfo(connection: NatsConnection, bucket: string): Promise<StreamInfo> {
  return (await connection.request(`$JS.API.STREAM.INFO.${streamName(bucket)}`)).json<StreamInfo>();
}
