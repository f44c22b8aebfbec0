/** Writes that are sent more than once with an idempotency key: applied once, whichever copy of the service takes them. */
import { describe, expect } from "vitest";
import type { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { CallContext } from "../../src/kv/call-context.js";
import type { Store } from "../../src/kv/store.js";
import type { WriteOptions } from "../../src/kv/writes.js";
import { bytes, expectRefusal, newBucketName, refusal, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { KEY, type TwoCopies, twoCopiesTest } from "./two-copies.js";

// Of its own, as it is restarted.
const it = twoCopiesTest({ ownServer: {}, bucket: {} });

/** Sent again by a client that had seen revision 1. */
const RETRY: WriteOptions = { ...KEY, sentBefore: { after: 1n } };
const BLIND_RETRY: WriteOptions = { ...KEY, sentBefore: { after: 0n } };

/** A write of the key `k`, which has the value "old" at revision 1. */
type Send = (copies: TwoCopies, store: Store, options: WriteOptions, within?: CallContext) => Promise<bigint>;

const condition = { ifRevision: 1n };
const WRITES: [string, Send][] = [
  ["put", (copies, store, options, within) => copies.put(store, "mine", options, within)],
  [
    "put if revision",
    (copies, store, options, within) => copies.put(store, "mine", { ...options, condition }, within),
  ],
  ["delete", ({ bucket }, store, options, within = scope()) => store.delete(bucket, "k", options, within)],
  [
    "delete if revision",
    ({ bucket }, store, options, within = scope()) =>
      store.delete(bucket, "k", { ...options, condition }, within),
  ],
  [
    "purge",
    ({ bucket }, store, options, within = scope()) =>
      store.delete(bucket, "k", { ...options, purge: true }, within),
  ],
];

const old = (copies: TwoCopies): Promise<bigint> => copies.put(copies.sound.store, "old");

describe.each(WRITES)("the same request again: %s", (_, send) => {
  it.beforeEach(({ copies }) => old(copies));

  it.for(["the same copy", "another copy"])(
    "has the first one's result, by %s of the service",
    async (by, { copies }) => {
      const again = by === "another copy" ? copies.sound.store : copies.faulty.store;
      expect(await send(copies, copies.faulty.store, KEY)).toBe(2n);
      expect(await send(copies, again, KEY)).toBe(2n);
      expect(await send(copies, again, RETRY)).toBe(2n);
      expect(await copies.newest()).toBe(2n);
    },
  );

  it("leaves what somebody wrote since", async ({ copies }) => {
    await send(copies, copies.faulty.store, KEY);
    await copies.theirs();
    expect(await send(copies, copies.faulty.store, KEY)).toBe(2n);
    expect(await send(copies, copies.sound.store, RETRY)).toBe(2n);
    expect(await copies.read()).toBe("theirs");
    expect(await copies.newest()).toBe(3n);
  });

  it("has the first one's result where nothing is left of that but its id", async ({ copies }) => {
    await send(copies, copies.faulty.store, KEY);
    await copies.theirs();
    expect(await send(copies, copies.sound.store, KEY)).toBe(2n);
    expect(await copies.read()).toBe("theirs");
  });

  it("is applied once when many are sent at the same time", async ({ copies }) => {
    const stores = [copies.faulty.store, copies.sound.store, copies.faulty.store, copies.sound.store];
    const results = await Promise.all(stores.map((store) => send(copies, store, KEY)));
    expect(new Set(results)).toEqual(new Set([2n]));
    expect(await copies.newest()).toBe(2n);
  });

  it.for([KEY, RETRY])(
    "is applied once when the first was not answered, and its outcome was reported as unknown",
    async (again, { copies }) => {
      const aborter = new AbortController();
      const lost = copies.link.loseAnswersTo("Nats-Msg-Id");
      const outcome = refusal(send(copies, copies.faulty.store, KEY, scope(60_000, aborter.signal)));
      await lost;
      copies.link.isDown = true;
      copies.link.cut();
      aborter.abort();
      expect((await outcome).kind).toBe("outcome_unknown");
      await expect.poll(() => copies.newest()).toBe(2n);
      await copies.theirs();
      copies.link.heal();
      await copies.untilConnected();
      expect(await send(copies, copies.faulty.store, again)).toBe(2n);
      expect(await copies.read()).toBe("theirs");
    },
  );

  it("is applied when the first never arrived", async ({ copies }) => {
    const aborter = new AbortController();
    const lost = copies.link.loseRequest("Nats-Msg-Id");
    const outcome = refusal(send(copies, copies.faulty.store, KEY, scope(60_000, aborter.signal)));
    await lost;
    copies.link.isDown = true;
    copies.link.cut();
    aborter.abort();
    expect((await outcome).kind).toBe("outcome_unknown");
    expect(await send(copies, copies.sound.store, RETRY)).toBe(2n);
    copies.link.heal();
    await copies.untilConnected();
    expect(await send(copies, copies.faulty.store, RETRY)).toBe(2n);
    expect(await copies.newest()).toBe(2n);
  });

  it("is applied once when the storage was restarted, or its outcome stays unknown where that can't be told", async ({
    copies,
    server,
  }) => {
    await send(copies, copies.faulty.store, KEY);
    await server.stop("SIGKILL");
    await server.start();
    await copies.untilConnected();
    expect(await send(copies, copies.sound.store, RETRY)).toBe(2n);
    await copies.theirs();
    // The entry was still stored when the server read its files: it knows its id.
    expect(await send(copies, copies.sound.store, RETRY)).toBe(2n);
    await server.stop("SIGKILL");
    await server.start();
    await copies.untilConnected();
    const fresh = await openStore(server.url);
    await expectRefusal(send(copies, fresh.store, RETRY), "outcome_unknown");
    await fresh.close();
    expect(await copies.read()).toBe("theirs");
  });
});

describe("an idempotency key that was used", () => {
  const others: [string, Send][] = [
    [
      "another value",
      (copies, store, options) => store.put(copies.bucket, "k", bytes("other"), options, scope()),
    ],
    [
      "another key",
      (copies, store, options) => store.put(copies.bucket, "other", bytes("v"), options, scope()),
    ],
    [
      "another content type",
      (copies, store, options) =>
        store.put(copies.bucket, "k", bytes("v"), { ...options, contentType: "text/plain" }, scope()),
    ],
    [
      "a condition",
      (copies, store, options) =>
        store.put(copies.bucket, "k", bytes("v"), { ...options, condition: { ifRevision: 1n } }, scope()),
    ],
    [
      "a condition that does not hold",
      (copies, store, options) =>
        store.put(copies.bucket, "k", bytes("v"), { ...options, condition: "if_absent" }, scope()),
    ],
    ["a delete", (copies, store, options) => store.delete(copies.bucket, "k", options, scope())],
    [
      "a delete of nothing",
      (copies, store, options) => store.delete(copies.bucket, "other", options, scope()),
    ],
  ];

  it.for(others)("is refused for another request: %s", async ([, send], { copies }) => {
    await copies.sound.store.put(copies.bucket, "k", bytes("v"), KEY, scope());
    for (const store of [copies.sound.store, copies.faulty.store]) {
      await expectRefusal(send(copies, store, KEY), "idempotency_key_reused", 1n);
      await expectRefusal(send(copies, store, BLIND_RETRY), "idempotency_key_reused", 1n);
    }
    expect(await copies.newest()).toBe(1n);
  });

  it("is refused for another request also when the entry was written over", async ({ copies }) => {
    await copies.sound.store.put(copies.bucket, "k", bytes("v"), KEY, scope());
    await copies.theirs();
    await expectRefusal(
      copies.sound.store.put(copies.bucket, "k", bytes("w"), KEY, scope()),
      "idempotency_key_reused",
      1n,
    );
    expect(await copies.read()).toBe("theirs");
  });

  it("is free in every other bucket, and in one that was recreated", async ({ copies }) => {
    const other = newBucketName();
    await copies.sound.store.createBucket({ name: other }, scope());
    await copies.sound.store.put(copies.bucket, "k", bytes("1"), KEY, scope());
    expect(await copies.sound.store.put(other, "k", bytes("2"), KEY, scope())).toBe(1n);
    await copies.sound.store.deleteBucket(copies.bucket, scope());
    await copies.sound.store.createBucket({ name: copies.bucket }, scope());
    await copies.sound.store.put(copies.bucket, "k", bytes("3"), KEY, scope());
    expect(await copies.read()).toBe("3");
  });

  it.for(["", " ", "a b", "é", "a\r\nb", "\u007f", "x".repeat(129)])(
    "is malformed: %j",
    async (idempotencyKey, { copies }) => {
      const put = copies.sound.store.put(copies.bucket, "k", bytes("v"), { idempotencyKey }, scope());
      if (idempotencyKey === "") expect(await put).toBe(1n);
      else await expectRefusal(put, "invalid_argument");
    },
  );

  it("may have 128 characters", async ({ copies }) => {
    const options = { idempotencyKey: "~".repeat(128), contentType: "x".repeat(255) };
    expect(await copies.sound.store.put(copies.bucket, "k", bytes("v"), options, scope())).toBe(1n);
  });
});

describe("a request that was refused", () => {
  it.for([KEY, { ...KEY, sentBefore: { after: 2n } }])("is decided again", async (again, { copies }) => {
    const create = (options: WriteOptions): Promise<bigint> =>
      copies.sound.store.put(copies.bucket, "k", bytes("v"), { ...options, condition: "if_absent" }, scope());
    await old(copies);
    await expectRefusal(create(KEY), "key_exists", 1n);
    await copies.sound.store.delete(copies.bucket, "k", {}, scope());
    expect(await create(again)).toBe(3n);
    expect(await create(again)).toBe(3n);
    await copies.theirs();
    expect(await create(again)).toBe(3n);
  });

  it("is decided again when it was a delete that found nothing", async ({ copies }) => {
    expect(await copies.sound.store.delete(copies.bucket, "k", KEY, scope())).toBe(0n);
    await old(copies);
    expect(await copies.sound.store.delete(copies.bucket, "k", KEY, scope())).toBe(2n);
    expect(await copies.faulty.store.delete(copies.bucket, "k", KEY, scope())).toBe(2n);
  });
});

describe("a write that is refused because the storage is away", () => {
  it("is never applied, also not when the storage is back", async ({ copies }) => {
    copies.link.isDown = true;
    copies.link.cut();
    for await (const status of copies.faulty.connection.status()) if (status.type === "disconnect") break;
    const writes = Array.from({ length: 100 }, (_, index) =>
      refusal(
        copies.faulty.store.put(
          copies.bucket,
          `late.${index}`,
          bytes("v"),
          index % 2 === 0 ? {} : KEY,
          scope(Infinity),
        ),
      ),
    );
    for (const error of await Promise.all(writes)) expect(error.kind).toBe("unavailable");
    copies.link.heal();
    await copies.untilConnected();
    // What was waiting in the connection would have been sent before this.
    expect(await copies.faulty.store.put(copies.bucket, "k", bytes("v"), {}, scope())).toBe(1n);
  });

  it("is distinguished from one that was under way when the connection broke, at every moment", async ({
    copies,
  }) => {
    await copies.sound.store.put(copies.bucket, "k", bytes("v"), {}, scope());
    const applied = new Map<string, string>();
    for (let round = 0; round < 20; round++) {
      await copies.untilConnected();
      const writes: Promise<void>[] = [];
      const put = async (index: number): Promise<void> => {
        const key = `r${round}.${index}`;
        try {
          await copies.faulty.store.put(copies.bucket, key, bytes(key), {}, scope());
          applied.set(key, "applied");
        } catch (error) {
          applied.set(key, (error as KvError).kind);
        }
      };
      for (let index = 0; index < 20; index++) {
        writes.push(put(index));
        if (index === round) copies.link.cut();
        if (index % 4 === round % 4) await new Promise(setImmediate);
      }
      await Promise.all(writes);
    }
    const { items } = await copies.sound.store.listKeys(
      copies.bucket,
      ["r*.*"],
      { limit: 0, pageToken: "" },
      scope(),
    );
    const stored = new Set(items);
    for (const [key, outcome] of applied) {
      expect(["applied", "unavailable"], key).toContain(outcome);
      expect(stored.has(key), `${key}: ${outcome}`).toBe(outcome === "applied");
    }
  });
});

describe("a request that says that it was sent before, and was not", () => {
  it("is applied where the storage would remember it", async ({ server }) => {
    const limits = { ...DEFAULT_LIMITS, idempotencyWindowMs: 1_000 };
    const copy = await openStore(server.url, { limits });
    const name = newBucketName();
    await copy.store.createBucket({ name }, scope());
    const put = (options: WriteOptions): Promise<bigint> =>
      copy.store.put(name, "k", bytes("v"), options, scope());
    await new Promise((resolve) => setTimeout(resolve, limits.idempotencyWindowMs / 2));
    await put({});
    // A machine that stalls in the middle of it may find that the window is over.
    const again = () => put({ ...KEY, sentBefore: { after: 0n, ageMs: 0 } }).catch(() => 0n);
    await expect.poll(again).toBe(2n);
    await copy.close();
  });

  it("is not known where the storage may have been restarted since", async ({ copies }) => {
    await copies.theirs();
    await expectRefusal(
      copies.sound.store.put(copies.bucket, "k", bytes("v"), BLIND_RETRY, scope()),
      "outcome_unknown",
    );
    expect(await copies.read()).toBe("theirs");
  });

  it("is applied where the key was never written", async ({ copies }) => {
    expect(await copies.sound.store.put(copies.bucket, "k", bytes("v"), BLIND_RETRY, scope())).toBe(1n);
  });
});
