/** Commits: several keys at once, all or none. */
import { describe, expect } from "vitest";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import type { CommitOperation, Condition, WriteOptions } from "../../src/kv/writes.js";
import type { Store } from "../../src/kv/store.js";
import type { WatchEvent } from "../../src/kv/watch.js";
import { needsServer } from "../support/nats-program.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, expectRefusal, historyOf, refusal, scope, text } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { relayAs } from "./version-relay.js";

const it = storeTest({ ownServer: {}, bucket: {} });
const withHistory = storeTest({ ownServer: {}, bucket: { history: 5 } });

const put = (key: string, value = `of ${key}`, condition: Condition = "always"): CommitOperation => ({
  type: "put",
  key,
  value: bytes(value),
  options: { condition },
});
const remove = (key: string, purge = false, revision = 0n): CommitOperation => ({
  ...{ type: "delete", key, purge },
  condition: revision === 0n ? "always" : { ifRevision: revision },
});
const check = (key: string, revision: bigint): CommitOperation => ({
  ...{ type: "check", key },
  condition: { ifRevision: revision },
});
const checkAbsent = (key: string): CommitOperation => ({ type: "check", key, condition: "if_absent" });
const unchanged = (filter: string, since: bigint): CommitOperation => ({
  ...{ type: "check_unchanged", filter, since },
});

async function commit(
  store: Store,
  bucket: string,
  operations: readonly CommitOperation[],
  options: WriteOptions = {},
): Promise<readonly bigint[]> {
  const { revision, revisions } = await store.commit(bucket, operations, options, scope());
  expect(revisions.at(-1) === 0n || revisions.at(-1) === revision).toBe(true);
  return revisions;
}

const write = (store: Store, bucket: string, key: string, value = "1"): Promise<bigint> =>
  store.put(bucket, key, bytes(value), {}, scope());

async function valueOf(store: Store, bucket: string, key: string): Promise<string> {
  return text((await store.get(bucket, key, 0n, scope())).value);
}

async function keysOf(store: Store, bucket: string): Promise<readonly string[]> {
  return (await store.listKeys(bucket, [], { limit: 1_000, pageToken: "" }, scope())).items;
}

describe("a commit", needsServer("2.15.1"), () => {
  it("applies all of its writes, with consecutive revisions", async ({ store, bucket }) => {
    await write(store, bucket, "c");
    expect(await commit(store, bucket, [put("a"), put("b"), remove("c")])).toEqual([2n, 3n, 4n]);
    expect(await keysOf(store, bucket)).toEqual(["a", "b"]);
    expect(await valueOf(store, bucket, "b")).toBe("of b");
    expect(await commit(store, bucket, [put("a", "2"), remove("a.none")])).toEqual([5n, 6n]);
  });

  it("applies nothing where one of its conditions does not hold, and says which", async ({
    store,
    bucket,
  }) => {
    await write(store, bucket, "a");
    await write(store, bucket, "b");
    const cases: [CommitOperation[], "revision_mismatch" | "key_exists", number, string, bigint][] = [
      [[put("x"), check("a", 2n)], "revision_mismatch", 1, "a", 1n],
      [[put("x"), checkAbsent("c"), checkAbsent("b")], "key_exists", 2, "b", 2n],
      [[put("x"), put("a", "2", { ifRevision: 7n })], "revision_mismatch", 1, "a", 1n],
      [[put("b", "2", "if_absent"), put("x")], "key_exists", 0, "b", 2n],
      [[put("x"), remove("b", false, 1n)], "revision_mismatch", 1, "b", 2n],
      [[check("none", 1n), put("x")], "revision_mismatch", 0, "none", 0n],
      [[check("a", 1n), check("b", 1n)], "revision_mismatch", 1, "b", 2n],
      [[put("x"), unchanged(">", 1n)], "revision_mismatch", 1, "b", 2n],
    ];
    for (const [operations, kind, operationIndex, key, revision] of cases) {
      const error = await expectRefusal(commit(store, bucket, operations), kind, revision);
      expect(error, error.message).toMatchObject({ bucket, key, operationIndex });
    }
    expect(await keysOf(store, bucket)).toEqual(["a", "b"]);
    expect((await store.getBucket(bucket, scope())).revision).toBe(2n);
  });

  it("checks keys that it does not write, also more of them than it has writes", async ({
    store,
    bucket,
  }) => {
    const keys = Array.from({ length: 60 }, (_, n) => `k${n}`);
    const revisions = await Promise.all(keys.map((key) => write(store, bucket, key)));
    const checks = keys.map((key, n) => check(key, revisions[n] as bigint));
    const [, , own] = await commit(store, bucket, [put("a"), checkAbsent("b"), put("c", "1", "if_absent")]);
    expect(own).toBe(62n);
    // One check rides on the put. The others cost a revision each.
    const all = await commit(store, bucket, [...checks, put("a"), remove("d", false)]);
    expect(all.slice(-2)).toEqual([121n, 122n]);
    expect(await keysOf(store, bucket)).toEqual([...keys, "a", "c"].sort());
    expect((await store.getBucket(bucket, scope())).values).toBe(62);
    for (const [index, key] of keys.entries()) {
      if (index % 20 !== 0) continue;
      await write(store, bucket, key, "changed");
      const error = await expectRefusal(commit(store, bucket, [...checks, put("a")]), "revision_mismatch");
      expect(error).toMatchObject({ key: "k0", operationIndex: 0 });
    }
  });

  it("notices what was written between its reads and its writes", async ({ store, bucket, otherCopy }) => {
    const rounds = 12;
    await commit(store, bucket, [put("n", "0")]);
    /** Increments with a check that rides on another key's write. */
    const increment = async (by: Store, from: string): Promise<void> => {
      for (;;) {
        const { revision, value } = await by.get(bucket, "n", 0n, scope());
        const next = String(Number(text(value)) + 1);
        const operations = [put("n", next), check("n", revision), put(`log.${next}`, from, "if_absent")];
        const outcome = await commit(by, bucket, operations).catch((error: unknown) => error);
        if (Array.isArray(outcome)) return;
        expect(["revision_mismatch", "key_exists"]).toContain((outcome as { kind: string }).kind);
      }
    };
    const run = async (by: Store, from: string): Promise<void> => {
      for (let n = 0; n < rounds; n++) await increment(by, from);
    };
    await Promise.all([run(store, "a"), run(otherCopy.store, "b"), run(store, "c")]);
    expect(await valueOf(store, bucket, "n")).toBe(String(3 * rounds));
    expect((await keysOf(store, bucket)).length).toBe(1 + 3 * rounds);
  });

  it("checks that nothing changed that matches a filter", async ({ store, bucket }) => {
    await write(store, bucket, "orders.1");
    await write(store, bucket, "users.1");
    expect(await commit(store, bucket, [unchanged("orders.*", 1n), put("orders.2")])).toEqual([0n, 3n]);
    expect(await commit(store, bucket, [unchanged("orders.*", 3n), put("a"), put("b")])).toEqual([
      0n,
      4n,
      5n,
    ]);
    await expectRefusal(
      commit(store, bucket, [unchanged("orders.*", 2n), put("a")]),
      "revision_mismatch",
      3n,
    );
    await store.delete(bucket, "orders.1", {}, scope());
    await expectRefusal(
      commit(store, bucket, [unchanged("orders.>", 5n), put("a")]),
      "revision_mismatch",
      6n,
    );
    await expectRefusal(commit(store, bucket, [unchanged("none.>", 7n), put("a")]), "revision_in_future", 6n);
    expect(await commit(store, bucket, [unchanged("none.>", 0n), unchanged("", 6n), put("a")])).toEqual([
      ...[0n, 0n],
      // One check needed a record.
      8n,
    ]);
    await store.compactBucket(bucket, scope());
    const error = await expectRefusal(
      commit(store, bucket, [put("x"), unchanged("orders.*", 5n)]),
      "revision_compacted",
    );
    expect(error.operationIndex).toBe(1);
  });

  it("is not refused by a filter that matches what is no key: records of checks, and what another program wrote", async ({
    store,
    bucket,
    connection,
  }) => {
    await write(store, bucket, "a");
    await commit(store, bucket, [check("a", 1n), checkAbsent("b"), put("orders.1"), put("orders.2")]);
    connection.publish(`${subjectPrefix(bucket)}base64=`, "x");
    await connection.flush();
    await expectRefusal(commit(store, bucket, [unchanged(">", 1n), put("orders.3")]), "revision_mismatch");
    await commit(store, bucket, [unchanged("*", 1n), put("orders.3")]);
    const { revision } = await store.getBucket(bucket, scope());
    await write(store, bucket, "b");
    const error = await expectRefusal(
      commit(store, bucket, [unchanged("*", revision), put("orders.4")]),
      "revision_mismatch",
    );
    expect(error.key).toBe("b");
    await commit(store, bucket, [check("a", 1n), checkAbsent("c"), put("orders.1"), put("orders.2")]);
    await expectRefusal(
      commit(store, bucket, [unchanged("*", revision), put("orders.4")]),
      "revision_mismatch",
    );
  });

  it("keeps one record of its checks, which a compaction removes", async ({ store, bucket, connection }) => {
    const storedRecords = async (): Promise<number> => {
      const body = JSON.stringify({ subjects_filter: `${subjectPrefix(bucket)}=check` });
      const reply = await connection.request(`$JS.API.STREAM.INFO.${streamName(bucket)}`, body);
      const { state } = reply.json<{ readonly state: { readonly subjects?: Record<string, number> } }>();
      return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
    };
    const a = await write(store, bucket, "a");
    let c = await write(store, bucket, "c");
    const change = async (): Promise<void> => {
      const [, next = 0n] = await commit(store, bucket, [check("a", a), put("c", "v", { ifRevision: c })]);
      // The record took the revision in between.
      expect(next).toBe(c + 2n);
      c = next;
    };
    for (let round = 0; round < 5; round++) await change();
    expect(await storedRecords()).toBe(1);
    expect((await store.compactBucket(bucket, scope())).removed).toBe(1);
    expect([await storedRecords(), await keysOf(store, bucket)]).toEqual([0, ["a", "c"]]);
    await change();
    await expectRefusal(commit(store, bucket, [check("a", c), put("b")]), "revision_mismatch", a);
    await expectRefusal(commit(store, bucket, [unchanged("a", a), put("b")]), "revision_compacted");
    await commit(store, bucket, [unchanged("a", c), put("b")]);
  });

  it("is a read where it has only checks", async ({ store, bucket }) => {
    await write(store, bucket, "a");
    await write(store, bucket, "b");
    const operations = [check("a", 1n), checkAbsent("c"), unchanged("b", 2n)];
    const result = await store.commit(bucket, operations, { idempotencyKey: "k" }, scope());
    expect(result).toEqual({ revision: 2n, revisions: [0n, 0n, 0n] });
    await expectRefusal(commit(store, bucket, [check("a", 1n), check("b", 1n)]), "revision_mismatch", 2n);
    expect((await store.getBucket(bucket, scope())).revision).toBe(2n);
  });

  it("refuses operations that contradict each other", async ({ store, bucket }) => {
    const cases: [CommitOperation[], number | undefined][] = [
      [[], undefined],
      [Array.from({ length: 501 }, (_, n) => put(`k${n}`)), undefined],
      [[put("a"), put("b"), put("a")], 2],
      [[put("a"), remove("a")], 1],
      [[check("a", 1n), check("a", 1n)], 1],
      [[check("a", 1n), checkAbsent("a")], 1],
      [[checkAbsent("a"), put("a", "1", { ifRevision: 3n })], 1],
      [[put("a", "1", "if_absent"), check("a", 3n)], 1],
      [[put("")], 0],
      [[unchanged("a*", 1n)], 0],
      [[unchanged(">.a", 1n)], 0],
      [Array.from({ length: 33 }, () => unchanged("a", 1n)), undefined],
    ];
    for (const [operations, index] of cases) {
      const error = await expectRefusal(store.commit(bucket, operations, {}, scope()), "invalid_argument");
      expect(error.operationIndex, error.message).toBe(index);
    }
    expect((await store.getBucket(bucket, scope())).revision).toBe(0n);
  });

  it("accepts a check that is also the condition of the key's write", async ({ store, bucket }) => {
    expect(await commit(store, bucket, [checkAbsent("a"), put("a", "1", "if_absent"), put("b")])).toEqual([
      ...[0n, 1n, 2n],
    ]);
    expect(await commit(store, bucket, [put("a", "2", { ifRevision: 1n }), check("a", 1n)])).toEqual([
      3n,
      0n,
    ]);
    expect(await commit(store, bucket, [unchanged("a", 3n), put("b"), put("a", "3")])).toEqual([0n, 4n, 5n]);
  });

  it("takes 500 operations and 8 MiB, and no more", async ({ store, bucket }) => {
    const half = Array.from({ length: 250 }, (_, n) => [put(`k${n}`), checkAbsent(`c${n}`)]).flat();
    const revisions = await commit(store, bucket, half);
    expect(revisions.filter((revision) => revision > 0n)).toEqual(
      Array.from({ length: 250 }, (_, n) => BigInt(n + 1)),
    );
    const large = (count: number, size: number): CommitOperation[] =>
      Array.from({ length: count }, (_, n) => put(`l${n}`, "x".repeat(size)));
    expect((await commit(store, bucket, large(8, 1_048_574))).length).toBe(8);
    const error = await expectRefusal(commit(store, bucket, large(8, 1_048_575)), "invalid_argument");
    expect(error.message).toMatch(/8388616 bytes/);
    const tooLarge = await expectRefusal(
      commit(store, bucket, [put("a"), ...large(1, 1_048_577)]),
      "value_too_large",
    );
    expect(tooLarge).toMatchObject({ key: "l0", operationIndex: 1 });
  });

  it("is stored as a single message where it needs no more", async ({ store, bucket, connection }) => {
    await write(store, bucket, "a");
    expect(await commit(store, bucket, [check("a", 1n), put("b")])).toEqual([0n, 2n]);
    const message = await connection.request(`$JS.API.DIRECT.GET.KV_APP_${bucket}.${subjectPrefix(bucket)}b`);
    expect(message.headers?.get("Nats-Batch-Id")).toBe("");
    await expectRefusal(commit(store, bucket, [check("a", 3n), put("b")]), "revision_mismatch", 1n);
  });

  it("with an idempotency key is applied once, and answers as the first time", async ({
    store,
    bucket,
    otherCopy,
  }) => {
    await write(store, bucket, "a");
    const options = { idempotencyKey: "once" };
    const operations = [check("a", 1n), put("a", "2"), checkAbsent("b"), put("b"), remove("c")];
    const first = await commit(store, bucket, operations, options);
    expect(first).toEqual([0n, 2n, 0n, 3n, 4n]);
    for (const again of [store, otherCopy.store]) {
      expect(await commit(again, bucket, operations, options)).toEqual(first);
      expect(await commit(again, bucket, operations, { ...options, sentBefore: { after: 1n } })).toEqual(
        first,
      );
      const other = [...operations.slice(0, 4), remove("c", true)];
      await expectRefusal(commit(again, bucket, other, options), "idempotency_key_reused");
    }
    for (const key of ["a", "b", "c"]) await write(store, bucket, key, "later");
    expect(await commit(otherCopy.store, bucket, operations, options)).toEqual(first);
    expect(await valueOf(store, bucket, "a")).toBe("later");
    expect((await store.getBucket(bucket, scope())).revision).toBe(7n);
  });

  it("is applied once where its acknowledgement is lost", async ({ store, bucket, faulty, link }) => {
    await write(store, bucket, "a");
    const lost = link.loseAnswersTo("Nats-Batch-Commit");
    const running = commit(faulty.store, bucket, [check("a", 1n), put("b"), put("c")]);
    await lost;
    link.cut();
    link.heal();
    expect(await running).toEqual([0n, 2n, 3n]);
    expect((await store.getBucket(bucket, scope())).revision).toBe(3n);
  });

  it("is sent again where its request is lost, and refused if a check does not hold any more", async ({
    store,
    bucket,
    faulty,
    link,
  }) => {
    await write(store, bucket, "a");
    for (const isChanged of [false, true]) {
      const lost = link.loseRequest("Nats-Batch-Commit");
      const { revision } = await store.get(bucket, "a", 0n, scope());
      const running = commit(faulty.store, bucket, [check("a", revision), put("b"), put("c")]);
      const outcome = running.catch((error: unknown) => error);
      await lost;
      if (isChanged) await write(store, bucket, "a", "2");
      link.cut();
      link.heal();
      // The repeated attempt has a condition on its last key, so the check needs no other message.
      if (!isChanged) expect(await outcome).toEqual([0n, 2n, 3n]);
      else expect(await outcome).toMatchObject({ kind: "revision_mismatch", key: "a", operationIndex: 0 });
    }
    expect(await keysOf(store, bucket)).toEqual(["a", "b", "c"]);
  });

  it("shares batches with other commits and puts", async ({ store, bucket }) => {
    const before = store.groupCommits()?.batches ?? 0;
    const numbers = Array.from({ length: 200 }, (_, n) => n);
    const outcomes = await Promise.all(
      numbers.map((n) =>
        n % 3 === 0
          ? write(store, bucket, `p${n}`).then((revision) => [revision])
          : commit(store, bucket, [put(`a${n}`), checkAbsent(`no${n}`), put(`b${n}`), put("hot", String(n))]),
      ),
    );
    const revisions = outcomes.flat().filter((revision) => revision > 0n);
    expect(new Set(revisions).size).toBe(revisions.length);
    expect((await store.getBucket(bucket, scope())).revision).toBe(BigInt(revisions.length));
    for (const n of numbers) {
      if (n % 3 === 0) continue;
      const entry = await store.get(bucket, `b${n}`, 0n, scope());
      expect([entry.revision, entry.commitRevision]).toEqual([outcomes[n]?.[2], outcomes[n]?.[3]]);
    }
    expect((store.groupCommits()?.batches ?? 0) - before).toBeLessThan(100);
  });

  it("shows watches which changes belong together", async ({ store, bucket, hubs }) => {
    const watch = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    await write(store, bucket, "a");
    await commit(store, bucket, [
      check("a", 1n),
      put("b", "1", "if_absent"),
      remove("a"),
      put("c", "1", "if_absent"),
    ]);
    await commit(store, bucket, [check("b", 2n), checkAbsent("d"), put("e")]);
    await Promise.all(Array.from({ length: 100 }, (_, n) => write(store, bucket, `p${n}`)));
    const seen: (WatchEvent & { type: "change" })[] = [];
    for await (const event of watch) if (event.type === "change" && seen.push(event) === 105) break;
    expect(seen.slice(0, 5).map(({ entry }) => [entry.revision, entry.commitRevision])).toEqual([
      ...[
        [1n, undefined],
        [2n, 4n],
        [3n, 4n],
        [4n, 4n],
      ],
      // After a record that only carries a check.
      [6n, 6n],
    ]);
    expect(seen.slice(5).every(({ entry }) => entry.commitRevision === undefined)).toBe(true);
  });

  withHistory("keeps the history of its keys, and purges it", async ({ store, bucket }) => {
    await commit(store, bucket, [put("a", "1"), put("b", "1")]);
    await commit(store, bucket, [put("a", "2"), remove("b")]);
    const history = await historyOf(store, bucket, "b", scope());
    expect(history.map(({ revision, operation }) => `${operation}@${revision}`)).toEqual([
      "put@2",
      "delete@4",
    ]);
    await commit(store, bucket, [remove("a", true), remove("b", true), put("c")]);
    for (const key of ["a", "b"])
      expect((await historyOf(store, bucket, key, scope())).map(({ operation }) => operation)).toEqual([
        "purge",
      ]);
    expect(
      await commit(store, bucket, [checkAbsent("a"), put("a", "3", "if_absent"), checkAbsent("b")]),
    ).toEqual([...[0n, 9n, 0n]]);
  });

  it("is refused as a whole by a full bucket, and deletes always fit", async ({ store, bucket }) => {
    await store.updateBucket(bucket, { maxBytes: 20_000 }, scope());
    const value = "x".repeat(1_000);
    const fill = Array.from({ length: 12 }, (_, n) => put(`k${n}`, value));
    await commit(store, bucket, fill);
    await expectRefusal(
      commit(store, bucket, [put("a"), ...fill.map((_, n) => put(`l${n}`, value))]),
      "bucket_full",
    );
    expect((await keysOf(store, bucket)).length).toBe(12);
    await commit(
      store,
      bucket,
      fill.map((_, n) => remove(`k${n}`)),
    );
    expect(await keysOf(store, bucket)).toEqual([]);
  });

  it("treats an expired value as absent", async ({ store, bucket }) => {
    await store.updateBucket(bucket, { ttlMs: 1_000 }, scope());
    const [revision = 0n] = await commit(store, bucket, [put("a"), put("b")]);
    await expect.poll(() => keysOf(store, bucket), { timeout: 20_000 }).toEqual([]);
    const error = await refusal(commit(store, bucket, [check("a", revision), put("c")]));
    expect(error.kind).toBe("revision_mismatch");
    expect((await commit(store, bucket, [checkAbsent("a"), put("b", "2", "if_absent")])).length).toBe(2);
  });

  it("is refused for another bucket of its name, and by an old server", async ({ server, store, bucket }) => {
    await write(store, bucket, "a");
    const { createdAt } = await store.getBucket(bucket, scope());
    const bucketCreatedAtMs = createdAt.getTime();
    await commit(store, bucket, [check("a", 1n), put("b")], { bucketCreatedAtMs });
    await store.deleteBucket(bucket, scope());
    await expectRefusal(commit(store, bucket, [put("b")]), "bucket_not_found");
    await expectRefusal(commit(store, bucket, [checkAbsent("b")]), "bucket_not_found");
    await store.createBucket({ name: bucket }, scope());
    await expectRefusal(commit(store, bucket, [put("b")], { bucketCreatedAtMs }), "revision_mismatch");
    const relay = await relayAs("2.15.0", server.port);
    const old = await openStore(relay.url);
    try {
      const error = await expectRefusal(commit(old.store, bucket, [put("b")]), "commit_unsupported");
      expect(error.message).toMatch(/version 2\.15\.0; commits need 2\.15\.1/);
    } finally {
      await old.close();
      await relay.stop();
    }
  });
});
