/** Commits of the SDK: what applies together, what a refusal says, and what is refused before anything is sent. */
import {
  type ChangeGroup,
  createClient,
  KvConflictError,
  type KvError,
  KvKeyExistsError,
} from "@ironflow-kv/client";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";

const it = serviceTest().extend("bucket", async ({ service }) => {
  const kv = createClient({ serverUrl: service.url }).kv();
  const { name } = await kv.createBucket({ name: freshName() });
  return kv.bucket(name);
});

describe("a commit", () => {
  it("applies checks, puts, deletes and purges together, with consecutive revisions", async ({ bucket }) => {
    const { revision } = await bucket.put("a", "1");
    await bucket.put("c", "1");
    await bucket.put("d", "1");
    const result = await bucket
      .atomic()
      .check("a", revision)
      .checkAbsent("none")
      .put("b", { balance: 7 }, { metadata: { by: "test" }, ttlSeconds: 60 })
      .delete("c")
      .purge("d")
      .put("e", "new", { ifAbsent: true })
      .commit();
    const [, , ...written] = result.revisions;
    expect(result.revisions.slice(0, 2)).toEqual([0n, 0n]);
    expect(written.map((one) => one - (written[0] ?? 0n))).toEqual([0n, 1n, 2n, 3n]);
    expect(result.revision).toBe(written.at(-1));
    expect(await bucket.listKeys()).toEqual(["a", "b", "e"]);
    const entry = await bucket.get("b");
    expect(entry.json()).toEqual({ balance: 7 });
    expect(entry.metadata).toEqual({ by: "test" });
    expect(entry.expiresAt).toBeInstanceOf(Date);
    expect(JSON.parse(JSON.stringify(result))).toEqual({
      revision: Number(result.revision),
      revisions: result.revisions.map(Number),
    });
  });

  it("applies nothing where a condition does not hold, and says which, and the key's revision", async ({
    bucket,
  }) => {
    const { revision: first } = await bucket.put("a", "1");
    const { revision: second } = await bucket.put("a", "2");
    const conflict: unknown = await bucket
      .atomic()
      .put("b", "1")
      .check("a", first)
      .commit()
      .catch((error: unknown) => error);
    expect(conflict).toBeInstanceOf(KvConflictError);
    expect(conflict).toMatchObject({ operationIndex: 1, key: "a", revision: second });
    expect((conflict as KvConflictError).currentRevision).toBe(second);
    const exists: unknown = await bucket
      .atomic()
      .put("a", "3", { ifAbsent: true })
      .commit()
      .catch((error: unknown) => error);
    expect(exists).toBeInstanceOf(KvKeyExistsError);
    expect(exists).toMatchObject({ operationIndex: 0, key: "a", revision: second });
    expect(await bucket.listKeys()).toEqual(["a"]);
  });

  it("notices a change below a filter", async ({ bucket }) => {
    const { revision } = await bucket.put("stock.1", "5");
    await bucket.atomic().checkUnchanged("stock.*", revision).put("order.1", "x").commit();
    await bucket.put("stock.2", "5");
    const refused = bucket.atomic().checkUnchanged("stock.*", revision).put("order.2", "x").commit();
    await expect(refused).rejects.toMatchObject({ reason: "revision_mismatch", operationIndex: 0 });
    await expect(bucket.get("order.2")).rejects.toMatchObject({ reason: "key_not_found" });
  });

  it("is applied once with an idempotency key", async ({ bucket }) => {
    const commit = () => bucket.atomic().put("a", "1").put("b", "1").commit({ idempotencyKey: "once" });
    const { revision, revisions } = await commit();
    expect(await commit()).toEqual({ revision, revisions });
    expect((await bucket.get("b")).revision).toBe(revision);
  });

  it("keeps the sum of two keys when many transfer between them", async ({ bucket }) => {
    await bucket.atomic().put("from", 100).put("to", 0).commit();
    const transfer = async (): Promise<void> => {
      for (;;) {
        const { entries } = await bucket.getMany(["from", "to"]);
        const [from, to] = entries;
        if (from === undefined || to === undefined) throw new Error("an account is missing");
        try {
          await bucket
            .atomic()
            .put("from", Number(from.text()) - 1, { ifRevision: from.revision })
            .put("to", Number(to.text()) + 1, { ifRevision: to.revision })
            .commit();
          return;
        } catch (error) {
          if (!(error instanceof KvConflictError)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: 20 }, transfer));
    const { entries } = await bucket.getMany(["from", "to"]);
    expect(entries.map((entry) => entry?.text())).toEqual(["80", "20"]);
  });

  it("refuses malformed arguments before it sends anything", ({ bucket }) => {
    const atomic = bucket.atomic();
    expect(() => atomic.put("a", "1", { ifAbsent: true, ifRevision: 1n })).toThrow(/takes one condition/);
    expect(() => atomic.put("a", "1", { ttl: 5 } as never)).toThrow(TypeError);
    expect(() => atomic.put("a", undefined as never)).toThrow(TypeError);
    expect(() => atomic.check("a", 0)).toThrow(/it must be an integer of 1 or more/);
    expect(() => atomic.delete("\ud800")).toThrow(/lone surrogate/);
  });

  it("without operations, or with a key twice, is an invalid argument", async ({ bucket }) => {
    await expect(bucket.atomic().commit()).rejects.toMatchObject({
      reason: "invalid_argument",
    } satisfies Partial<KvError>);
    await expect(bucket.atomic().put("a", "1").delete("a").commit()).rejects.toMatchObject({
      reason: "invalid_argument",
    });
  });
});

describe("watchCommits", () => {
  const shown = ({ changes, revision }: ChangeGroup): string =>
    `${changes.map(({ type, key }) => `${type} ${key}`).join(", ")} @${revision}`;

  it("emits the changes of a commit together, and single writes alone", async ({ bucket }) => {
    await bucket.put("x", "1");
    await bucket.atomic().put("a", "1").put("b", "1").delete("c").commit();
    const groups: string[] = [];
    for await (const group of bucket.watchCommits()) {
      groups.push(shown(group));
      if (groups.length === 2) await bucket.atomic().put("d", "1").delete("a").put("e", "1").commit();
      if (groups.length === 3) await bucket.put("d", "2");
      if (groups.length === 4) break;
    }
    // The snapshot omits the tombstone.
    expect(groups).toEqual(["put x @1", "put a, put b @4", "put d, delete a, put e @7", "put d @8"]);
  });

  it("emits a commit whose last write the filters omit with the next event", async ({ bucket }) => {
    const groups: string[] = [];
    const watch = bucket.watchCommits("k.*", { progressIntervalMs: 100 });
    const first = watch.next();
    const { revision } = await bucket.atomic().put("k.1", "1").put("k.2", "1").put("other", "1").commit();
    groups.push(shown((await first).value as ChangeGroup));
    await watch.return();
    expect(groups).toEqual([`put k.1, put k.2 @${revision}`]);
  });

  it("ends at once while it waits", async ({ bucket }) => {
    const watch = bucket.watchCommits();
    const next = watch.next();
    await watch.return();
    expect(await next).toMatchObject({ done: true });
  });
});
