/** Uncertain writes in buckets that remember them only briefly: applied once, or said to be unknown, never guessed. */
import { describe, expect } from "vitest";
import type { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { CallContext } from "../../src/kv/call-context.js";
import type { Store } from "../../src/kv/store.js";
import type { WriteOptions } from "../../src/kv/writes.js";
import { expectRefusal, refusal, scope } from "./store-contract.js";
import { KEY, type TwoCopies, twoCopiesTest } from "./two-copies.js";

/** Tombstones that do not expire by themselves are removed by a sweep, with this retention every second. */
const LIMITS = { ...DEFAULT_LIMITS, tombstoneRetentionMs: 10_000 };
const it = twoCopiesTest({ store: { limits: LIMITS } });

const TTL_MS = 1_000;
const retry = (ageMs: number, after = 0n): WriteOptions => ({ ...KEY, sentBefore: { after, ageMs } });

type Send = (copies: TwoCopies, store: Store, options: WriteOptions, within?: CallContext) => Promise<bigint>;
const WRITES: [string, Send][] = [
  ["put", (copies, store, options, within) => copies.put(store, "mine", options, within)],
  [
    "create",
    (copies, store, options, within) =>
      copies.put(store, "mine", { ...options, condition: "if_absent" }, within),
  ],
];

/**
 * Checks that a repeated write is refused, as its outcome is unknown. The storage forgets writes on a timer of its own: a repetition that comes
 * before has the revision of the first attempt.
 */
async function expectUnknown(repeated: Promise<bigint>, revision: bigint): Promise<void> {
  const outcome = await repeated.catch((error: unknown) => (error as KvError).kind);
  expect(["outcome_unknown", revision]).toContain(outcome);
}

describe.concurrent.each([1, 5])("in a bucket with a ttl of a second and history %i", (history) => {
  it.beforeEach(({ copies }) => copies.create({ ttlMs: TTL_MS, history }));

  it.for(WRITES)(
    "a write is unknown that was cut off after it was applied, until after it had expired: %s",
    async ([, send], { copies }) => {
      for (const options of [{}, KEY]) {
        await copies.untilConnected();
        const before = await copies.newest();
        const lost = copies.link.loseAnswersTo("Nats-Msg-Id");
        const sent = send(copies, copies.faulty.store, options, scope(60_000));
        sent.catch(() => undefined);
        await Promise.race([lost, sent]);
        const revision = await copies.untilStored(before);
        copies.link.isDown = true;
        copies.link.cut();
        await copies.untilGone();
        copies.link.heal();
        await expectUnknown(sent, revision);
        expect(await copies.read()).toBe("key_not_found");
      }
    },
  );

  it.for(WRITES)(
    "a write is not applied twice whose first attempt arrives when the storage has forgotten the second: %s",
    async ([, send], { copies }) => {
      for (const options of [{}, KEY]) {
        await copies.untilConnected();
        const late = copies.link.holdRequest("Nats-Msg-Id");
        const sent = send(copies, copies.faulty.store, options, scope(60_000)).catch(
          (error: unknown) => (error as KvError).kind,
        );
        await Promise.race([late.sent, sent]);
        copies.link.cut();
        const outcome = await sent;
        await copies.untilGone();
        const before = await copies.newest();
        await late.deliver();
        const next = await copies.sound.store.put(copies.bucket, "next", Buffer.from("next"), {}, scope());
        // The first attempt may be applied if the outcome is unknown.
        expect(next - before - 1n).toBeLessThanOrEqual(typeof outcome === "bigint" ? 0n : 1n);
        await copies.untilGone();
      }
    },
  );

  it.for(WRITES)(
    "a write that is sent again after it had expired is unknown, through any copy: %s",
    async ([, send], { copies }) => {
      const revision = await send(copies, copies.faulty.store, KEY);
      await copies.untilGone();
      for (const store of [copies.sound.store, copies.faulty.store]) {
        await expectUnknown(send(copies, store, retry(2 * TTL_MS)), revision);
        // One that does not say how old it is may be as old.
        await expectUnknown(send(copies, store, { ...KEY, sentBefore: { after: 0n } }), revision);
      }
      expect(await copies.read()).toBe("key_not_found");
    },
  );

  it("a delete that is sent again after its tombstone had expired is unknown", async ({ copies }) => {
    await copies.put(copies.sound.store, "old");
    const remove = (options: WriteOptions): Promise<bigint> =>
      copies.faulty.store.delete(copies.bucket, "k", options, scope());
    const revision = await remove(KEY);
    await copies.untilGone();
    await expectUnknown(remove(retry(2 * TTL_MS)), revision);
  });

  it("a write that is sent again within half the window, and never arrived, is applied", async ({
    copies,
  }) => {
    const putInTime = async (store: Store): Promise<bigint> => {
      for (let attempt = 0; ; attempt++) {
        const sentMs = performance.now();
        const options = { ...retry(0), idempotencyKey: `k${attempt}` };
        const done = await copies.put(store, "mine", options).catch((error: unknown) => error as KvError);
        if (typeof done === "bigint") return done;
        // A machine that stalls may find that the window is over.
        expect(performance.now() - sentMs).toBeGreaterThan(TTL_MS / 4);
      }
    };
    expect(await putInTime(copies.sound.store)).toBe(1n);
    expect(await copies.read()).toBe("mine");
  });

  it("a write is applied that is older than the window, where nothing was written to the bucket since", async ({
    copies,
  }) => {
    expect(await copies.put(copies.sound.store, "mine", retry(60_000))).toBe(1n);
  });

  it("a write is not applied whose first sending is of an unknown time, or was half the window ago", async ({
    copies,
  }) => {
    const sentAt = (timeMs: number): WriteOptions => ({ ...KEY, sentBefore: { after: 0n, timeMs } });
    await copies.put(copies.sound.store, "theirs");
    const { storageTimeMs = 0 } = await refusal(copies.put(copies.sound.store, "mine", sentAt(0)));
    await expectRefusal(
      copies.put(copies.sound.store, "mine", sentAt(storageTimeMs - TTL_MS / 2)),
      "outcome_unknown",
    );
    // In whole milliseconds, and well before the write above.
    await expectRefusal(
      copies.put(copies.sound.store, "mine", sentAt(storageTimeMs - 60_000)),
      "outcome_unknown",
    );
  });
});

describe.concurrent("a window that was cut by a change of the ttl", () => {
  it("does not count as it is now", async ({ copies }) => {
    await copies.create();
    await copies.put(copies.faulty.store, "mine", KEY);
    await copies.sound.store.updateBucket(copies.bucket, { ttlMs: TTL_MS }, scope());
    await copies.untilGone();
    await expectRefusal(copies.put(copies.sound.store, "mine", retry(3_000)), "outcome_unknown");
    // Longer again: what was forgotten meanwhile stays forgotten.
    await copies.sound.store.updateBucket(copies.bucket, { ttlMs: 0 }, scope());
    await expectRefusal(copies.put(copies.sound.store, "mine", retry(3_000)), "outcome_unknown");
    // This copy took it, within the window that the bucket had.
    expect(await copies.put(copies.faulty.store, "mine", retry(3_000))).toBe(1n);
    expect(await copies.read()).toBe("key_not_found");
  });

  it("is reported by the bucket", async ({ copies }) => {
    await copies.create();
    const windowOf = async (): Promise<number> =>
      (await copies.sound.store.getBucket(copies.bucket, scope())).idempotencyWindowMs;
    expect(await windowOf()).toBe(DEFAULT_LIMITS.idempotencyWindowMs);
    await copies.sound.store.updateBucket(copies.bucket, { ttlMs: TTL_MS }, scope());
    expect(await windowOf()).toBe(TTL_MS);
  });

  it("is reported with an unknown outcome", async ({ copies }) => {
    await copies.create({ ttlMs: TTL_MS });
    await copies.put(copies.sound.store, "mine", KEY);
    await copies.untilGone();
    const error = await refusal(copies.put(copies.sound.store, "mine", retry(60_000)));
    expect(error).toMatchObject({ kind: "outcome_unknown", idempotencyWindowMs: TTL_MS });
  });
});

describe.concurrent("a bucket that was deleted and recreated", () => {
  it.beforeEach(({ copies }) => copies.create());
  const recreate = async (copies: TwoCopies): Promise<void> => {
    await copies.sound.store.deleteBucket(copies.bucket, scope());
    await copies.create();
  };

  it("has none of the writes of the one before, whichever copy took them", async ({ copies }) => {
    expect(await copies.put(copies.faulty.store, "mine", KEY)).toBe(1n);
    await recreate(copies);
    expect(await copies.put(copies.faulty.store, "mine", KEY)).toBe(1n);
    expect(await copies.read()).toBe("mine");
    expect(await copies.put(copies.sound.store, "mine", KEY)).toBe(1n);
  });

  it("takes the idempotency keys of the one before for other requests", async ({ copies }) => {
    await copies.put(copies.faulty.store, "mine", KEY);
    await recreate(copies);
    expect(await copies.put(copies.faulty.store, "other", KEY)).toBe(1n);
  });

  it("does not get a write whose answer was lost in the one before", async ({ copies }) => {
    for (const options of [{}, KEY]) {
      await copies.untilConnected();
      const lost = copies.link.loseAnswersTo("Nats-Msg-Id");
      const outcome = refusal(copies.put(copies.faulty.store, "mine", options, scope(60_000)));
      await Promise.race([lost, outcome]);
      await copies.untilStored();
      copies.link.isDown = true;
      await recreate(copies);
      copies.link.cut();
      copies.link.heal();
      expect((await outcome).kind).toBe("outcome_unknown");
      expect(await copies.read()).toBe("key_not_found");
    }
  });
});

describe.concurrent("a write with an idempotency key whose entry is not kept any more", () => {
  it.for([1, 2])("has its result, through every copy: history %i", async (history, { copies }) => {
    await copies.create({ history });
    expect(await copies.put(copies.faulty.store, "mine", KEY)).toBe(1n);
    for (let index = 0; index < history; index++) await copies.put(copies.sound.store, "theirs");
    for (const store of [copies.sound.store, copies.faulty.store]) {
      expect(await copies.put(store, "mine", KEY)).toBe(1n);
      expect(await copies.put(store, "mine", retry(5))).toBe(1n);
    }
    expect(await copies.read()).toBe("theirs");
  });
});

describe.concurrent("a write that waits for an earlier sending of the same", () => {
  it.for([KEY, retry(5)])("ends with its own time, and its outcome is unknown", async (again, { copies }) => {
    await copies.create();
    const aborter = new AbortController();
    const lost = copies.link.loseAnswersTo("Nats-Msg-Id");
    const first = refusal(copies.put(copies.faulty.store, "mine", KEY, scope(60_000, aborter.signal)));
    await lost;
    expect((await refusal(copies.put(copies.faulty.store, "mine", again, scope(50)))).kind).toBe(
      "outcome_unknown",
    );
    const gone = new AbortController();
    const canceled = refusal(copies.put(copies.faulty.store, "mine", again, scope(60_000, gone.signal)));
    gone.abort();
    expect((await canceled).kind).toBe("outcome_unknown");
    aborter.abort();
    expect((await first).kind).toBe("outcome_unknown");
  });
});
