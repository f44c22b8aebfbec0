/** Uncertain writes in buckets that remember them only briefly: applied once, or said to be unknown, never guessed. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { CallScope, Store, WriteOptions } from "../../src/kv/store.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type FaultyLink, openFaultyLink } from "./faulty-link.js";
import { bytes, expectRefusal, historyOf, newBucketName, refusal, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

let server: TestNatsServer;
let link: FaultyLink;
/** Two copies of the service: one over a link that can fail. */
let faulty: OpenStore;
let sound: OpenStore;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer();
});
afterAll(() => server.remove());

beforeEach(async () => {
  link = await openFaultyLink(server.port);
  [faulty, sound] = await Promise.all([openStore(link.url), openStore(server.url)]);
  bucket = newBucketName();
});
afterEach(async () => {
  link.heal();
  await Promise.all([faulty.close(), sound.close()]);
  await link.close();
});

const TTL_MS = 1_000;
const KEY: WriteOptions = { idempotencyKey: "5f0c9a52-2f0f-4a06-9d3b-6c4a1f1f7a55" };
const retry = (ageMs: number, after = 0n): WriteOptions => ({ ...KEY, sentBefore: { after, ageMs } });

const create = (config: { ttlMs?: number; history?: number; maxBytes?: number } = {}): Promise<unknown> =>
  sound.store.createBucket({ name: bucket, ...config }, scope());
const put = (store: Store, value: string, options: WriteOptions = {}, within = scope()): Promise<bigint> =>
  store.put(bucket, "k", bytes(value), options, within);
const read = (): Promise<string> =>
  sound.store.get(bucket, "k", 0n, scope()).then(
    ({ value }) => text(value),
    (error: unknown) => (error as KvError).kind,
  );

/** Resolves when the bucket stores nothing, not even a marker. */
async function untilGone(): Promise<void> {
  for (;;) {
    const reply = await sound.connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`);
    if (reply.json<{ state: { messages: number } }>().state.messages === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function untilStored(): Promise<void> {
  for (;;) {
    const found = await historyOf(sound.store, bucket, "k", scope()).catch(() => []);
    if (found.length > 0) return;
  }
}

type Send = (store: Store, options: WriteOptions, within?: CallScope) => Promise<bigint>;
const WRITES: [string, Send][] = [
  ["put", (store, options, within) => put(store, "mine", options, within)],
  ["create", (store, options, within) => put(store, "mine", { ...options, condition: "if_absent" }, within)],
];

describe.each([1, 5])("in a bucket with a ttl of a second and history %i", (history) => {
  beforeEach(() => create({ ttlMs: TTL_MS, history }));

  it.each(WRITES)(
    "a write is unknown that was cut off after it was applied, until after it had expired: %s",
    async (_, send) => {
      for (const options of [{}, KEY]) {
        const lost = link.loseAnswersTo("Nats-Msg-Id");
        const outcome = refusal(send(faulty.store, options, scope(60_000)));
        await lost;
        await untilStored();
        link.isDown = true;
        link.cut();
        await untilGone();
        link.heal();
        expect((await outcome).kind).toBe("outcome_unknown");
        expect(await read()).toBe("key_not_found");
      }
    },
  );

  it.each(WRITES)(
    "a write that is sent again after it had expired is unknown, through any copy: %s",
    async (_, send) => {
      await send(faulty.store, KEY);
      await untilGone();
      for (const store of [sound.store, faulty.store]) {
        await expectRefusal(send(store, retry(2 * TTL_MS)), "outcome_unknown");
        // One that does not say how old it is may be as old.
        await expectRefusal(send(store, { ...KEY, sentBefore: { after: 0n } }), "outcome_unknown");
      }
      expect(await read()).toBe("key_not_found");
    },
  );

  it("a delete that is sent again after its tombstone had expired is unknown", async () => {
    await put(sound.store, "old");
    const remove = (options: WriteOptions): Promise<bigint> =>
      faulty.store.delete(bucket, "k", options, scope());
    await remove(KEY);
    await untilGone();
    await expectRefusal(remove(retry(2 * TTL_MS)), "outcome_unknown");
  });

  it("a write that is sent again within half the window, and never arrived, is applied", async () => {
    const stubbornly = async (store: Store): Promise<bigint> => {
      for (let attempt = 0; ; attempt++) {
        const sentMs = performance.now();
        const options = { ...retry(0), idempotencyKey: `k${attempt}` };
        const done = await put(store, "mine", options).catch((error: unknown) => error as KvError);
        if (typeof done === "bigint") return done;
        // A machine that stalls may find that the window is over.
        expect(performance.now() - sentMs).toBeGreaterThan(TTL_MS / 4);
      }
    };
    expect(await stubbornly(sound.store)).toBe(1n);
    expect(await read()).toBe("mine");
  });

  it("a write is applied that is older than the window, where nothing was written to the bucket since", async () => {
    expect(await put(sound.store, "mine", retry(60_000))).toBe(1n);
  });

  it("a write is not applied whose first sending is of an unknown time, or was half the window ago", async () => {
    const sentAt = (timeMs: number): WriteOptions => ({ ...KEY, sentBefore: { after: 0n, timeMs } });
    await put(sound.store, "theirs");
    const { storageTimeMs = 0 } = await refusal(put(sound.store, "mine", sentAt(0)));
    await expectRefusal(put(sound.store, "mine", sentAt(storageTimeMs - TTL_MS / 2)), "outcome_unknown");
    // In whole milliseconds, and well before the write above.
    await expectRefusal(put(sound.store, "mine", sentAt(storageTimeMs - 60_000)), "outcome_unknown");
  });
});

describe("a window that was cut by a change of the ttl", () => {
  it("does not count as it is now", async () => {
    await create();
    await put(faulty.store, "mine", KEY);
    await sound.store.updateBucket(bucket, { ttlMs: TTL_MS }, scope());
    await untilGone();
    await expectRefusal(put(sound.store, "mine", retry(3_000)), "outcome_unknown");
    // Longer again: what was forgotten meanwhile stays forgotten.
    await sound.store.updateBucket(bucket, { ttlMs: 0 }, scope());
    await expectRefusal(put(sound.store, "mine", retry(3_000)), "outcome_unknown");
    // This copy took it, within the window that the bucket had.
    expect(await put(faulty.store, "mine", retry(3_000))).toBe(1n);
    expect(await read()).toBe("key_not_found");
  });

  it("is told by the bucket", async () => {
    await create();
    const windowOf = async (): Promise<number> =>
      (await sound.store.getBucket(bucket, scope())).idempotencyWindowMs;
    expect(await windowOf()).toBe(DEFAULT_LIMITS.idempotencyWindowMs);
    await sound.store.updateBucket(bucket, { ttlMs: TTL_MS }, scope());
    expect(await windowOf()).toBe(TTL_MS);
  });

  it("is told with an unknown outcome", async () => {
    await create({ ttlMs: TTL_MS });
    await put(sound.store, "mine", KEY);
    await untilGone();
    const error = await refusal(put(sound.store, "mine", retry(60_000)));
    expect(error).toMatchObject({ kind: "outcome_unknown", idempotencyWindowMs: TTL_MS });
  });
});

describe("a bucket that was deleted and made again", () => {
  beforeEach(() => create());
  const recreate = async (): Promise<void> => {
    await sound.store.deleteBucket(bucket, scope());
    await create();
  };

  it("has none of the writes of the one before, whichever copy took them", async () => {
    expect(await put(faulty.store, "mine", KEY)).toBe(1n);
    await recreate();
    expect(await put(faulty.store, "mine", KEY)).toBe(1n);
    expect(await read()).toBe("mine");
    expect(await put(sound.store, "mine", KEY)).toBe(1n);
  });

  it("takes the idempotency keys of the one before for other requests", async () => {
    await put(faulty.store, "mine", KEY);
    await recreate();
    expect(await put(faulty.store, "other", KEY)).toBe(1n);
  });

  it("does not get a write whose answer was lost in the one before", async () => {
    for (const options of [{}, KEY]) {
      const lost = link.loseAnswersTo("Nats-Msg-Id");
      const outcome = refusal(put(faulty.store, "mine", options, scope(60_000)));
      await lost;
      await untilStored();
      link.isDown = true;
      await recreate();
      link.cut();
      link.heal();
      expect((await outcome).kind).toBe("outcome_unknown");
      expect(await read()).toBe("key_not_found");
    }
  });
});

describe("a write with an idempotency key whose entry is not kept any more", () => {
  it.each([1, 2])("has its result, through every copy: history %i", async (history) => {
    await create({ history });
    expect(await put(faulty.store, "mine", KEY)).toBe(1n);
    for (let index = 0; index < history; index++) await put(sound.store, "theirs");
    for (const store of [sound.store, faulty.store]) {
      expect(await put(store, "mine", KEY)).toBe(1n);
      expect(await put(store, "mine", retry(5))).toBe(1n);
    }
    expect(await read()).toBe("theirs");
  });
});

describe("a write that waits for an earlier sending of the same", () => {
  it.each([KEY, retry(5)])("ends with its own time, and its outcome is unknown", async (again) => {
    await create();
    const aborter = new AbortController();
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const first = refusal(put(faulty.store, "mine", KEY, scope(60_000, aborter.signal)));
    await lost;
    expect((await refusal(put(faulty.store, "mine", again, scope(50)))).kind).toBe("outcome_unknown");
    const gone = new AbortController();
    const canceled = refusal(put(faulty.store, "mine", again, scope(60_000, gone.signal)));
    gone.abort();
    expect((await canceled).kind).toBe("outcome_unknown");
    aborter.abort();
    expect((await first).kind).toBe("outcome_unknown");
  });
});
