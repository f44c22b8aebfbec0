/** Writes that are sent more than once with an idempotency key: applied once, whichever copy of the service takes them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { CallScope, Store, WriteOptions } from "../../src/kv/store.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type FaultyLink, openFaultyLink } from "./faulty-link.js";
import { bytes, expectRefusal, newBucketName, refusal, scope, text } from "./store-contract.js";
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
  await sound.store.createBucket({ name: bucket }, scope());
});
afterEach(async () => {
  link.heal();
  await Promise.all([faulty.close(), sound.close()]);
  await link.close();
});

const KEY: WriteOptions = { idempotencyKey: "5f0c9a52-2f0f-4a06-9d3b-6c4a1f1f7a55" };
/** Sent again by a client that had seen revision 1. */
const RETRY: WriteOptions = { ...KEY, sentBefore: { after: 1n } };
const BLIND_RETRY: WriteOptions = { ...KEY, sentBefore: { after: 0n } };

/** A write of the key `k`, which has the value "old" at revision 1. */
type Send = (store: Store, options: WriteOptions, within?: CallScope) => Promise<bigint>;

const WRITES: [string, Send][] = [
  ["put", (store, options, within = scope()) => store.put(bucket, "k", bytes("mine"), options, within)],
  [
    "put if revision",
    (store, options, within = scope()) =>
      store.put(bucket, "k", bytes("mine"), { ...options, condition: { ifRevision: 1n } }, within),
  ],
  ["delete", (store, options, within = scope()) => store.delete(bucket, "k", options, within)],
  [
    "delete if revision",
    (store, options, within = scope()) =>
      store.delete(bucket, "k", { ...options, condition: { ifRevision: 1n } }, within),
  ],
  [
    "purge",
    (store, options, within = scope()) => store.delete(bucket, "k", { ...options, purge: true }, within),
  ],
];

const old = (): Promise<bigint> => sound.store.put(bucket, "k", bytes("old"), {}, scope());
const theirs = (): Promise<bigint> => sound.store.put(bucket, "k", bytes("theirs"), {}, scope());
const newest = async (): Promise<bigint> => (await sound.store.getBucket(bucket, scope())).revision;
const read = async (): Promise<string> => text((await sound.store.get(bucket, "k", 0n, scope())).value);

describe.each(WRITES)("the same request again: %s", (_, send) => {
  beforeEach(old);

  it.each(["the same copy", "another copy"])(
    "has the first one's result, by %s of the service",
    async (by) => {
      const again = by === "another copy" ? sound.store : faulty.store;
      expect(await send(faulty.store, KEY)).toBe(2n);
      expect(await send(again, KEY)).toBe(2n);
      expect(await send(again, RETRY)).toBe(2n);
      expect(await newest()).toBe(2n);
    },
  );

  it("leaves what somebody wrote since", async () => {
    await send(faulty.store, KEY);
    await theirs();
    expect(await send(faulty.store, KEY)).toBe(2n);
    expect(await send(sound.store, RETRY)).toBe(2n);
    expect(await read()).toBe("theirs");
    expect(await newest()).toBe(3n);
  });

  it("has the first one's result where nothing is left of that but its id", async () => {
    await send(faulty.store, KEY);
    await theirs();
    expect(await send(sound.store, KEY)).toBe(2n);
    expect(await read()).toBe("theirs");
  });

  it("is applied once when many are sent at the same time", async () => {
    const stores = [faulty.store, sound.store, faulty.store, sound.store];
    const results = await Promise.all(stores.map((store) => send(store, KEY)));
    expect(new Set(results)).toEqual(new Set([2n]));
    expect(await newest()).toBe(2n);
  });

  it.each([KEY, RETRY])(
    "is applied once when the first was not answered, and its outcome was told to be unknown",
    async (again) => {
      const aborter = new AbortController();
      const lost = link.loseAnswersTo("Nats-Msg-Id");
      const outcome = refusal(send(faulty.store, KEY, scope(60_000, aborter.signal)));
      await lost;
      link.isDown = true;
      link.cut();
      aborter.abort();
      expect((await outcome).kind).toBe("outcome_unknown");
      while ((await newest()) < 2n);
      await theirs();
      link.heal();
      await connected();
      expect(await send(faulty.store, again)).toBe(2n);
      expect(await read()).toBe("theirs");
    },
  );

  it("is applied when the first never arrived", async () => {
    const aborter = new AbortController();
    const lost = link.loseRequest("Nats-Msg-Id");
    const outcome = refusal(send(faulty.store, KEY, scope(60_000, aborter.signal)));
    await lost;
    link.isDown = true;
    link.cut();
    aborter.abort();
    expect((await outcome).kind).toBe("outcome_unknown");
    expect(await send(sound.store, RETRY)).toBe(2n);
    link.heal();
    await connected();
    expect(await send(faulty.store, RETRY)).toBe(2n);
    expect(await newest()).toBe(2n);
  });

  it("is applied once when the storage was restarted, or its outcome stays unknown where that can't be told", async () => {
    await send(faulty.store, KEY);
    await server.stop("SIGKILL");
    await server.start();
    await connected();
    expect(await send(sound.store, RETRY)).toBe(2n);
    await theirs();
    // The entry was still stored when the server read its files: it knows its id.
    expect(await send(sound.store, RETRY)).toBe(2n);
    await server.stop("SIGKILL");
    await server.start();
    await connected();
    const fresh = await openStore(server.url);
    await expectRefusal(send(fresh.store, RETRY), "outcome_unknown");
    await fresh.close();
    expect(await read()).toBe("theirs");
  });
});

describe("an idempotency key that was used", () => {
  const others: [string, Send][] = [
    ["another value", (store, options) => store.put(bucket, "k", bytes("other"), options, scope())],
    ["another key", (store, options) => store.put(bucket, "other", bytes("v"), options, scope())],
    [
      "another content type",
      (store, options) =>
        store.put(bucket, "k", bytes("v"), { ...options, contentType: "text/plain" }, scope()),
    ],
    [
      "a condition",
      (store, options) =>
        store.put(bucket, "k", bytes("v"), { ...options, condition: { ifRevision: 1n } }, scope()),
    ],
    [
      "a condition that does not hold",
      (store, options) => store.put(bucket, "k", bytes("v"), { ...options, condition: "if_absent" }, scope()),
    ],
    ["a delete", (store, options) => store.delete(bucket, "k", options, scope())],
    ["a delete of nothing", (store, options) => store.delete(bucket, "other", options, scope())],
  ];

  it.each(others)("is refused for another request: %s", async (_, send) => {
    await sound.store.put(bucket, "k", bytes("v"), KEY, scope());
    for (const store of [sound.store, faulty.store]) {
      await expectRefusal(send(store, KEY), "idempotency_key_reused", 1n);
      await expectRefusal(send(store, BLIND_RETRY), "idempotency_key_reused", 1n);
    }
    expect(await newest()).toBe(1n);
  });

  it("is refused for another request also when the entry was written over", async () => {
    await sound.store.put(bucket, "k", bytes("v"), KEY, scope());
    await theirs();
    await expectRefusal(sound.store.put(bucket, "k", bytes("w"), KEY, scope()), "idempotency_key_reused", 1n);
    expect(await read()).toBe("theirs");
  });

  it("is free in every other bucket, and in one that was made again", async () => {
    const other = newBucketName();
    await sound.store.createBucket({ name: other }, scope());
    await sound.store.put(bucket, "k", bytes("1"), KEY, scope());
    expect(await sound.store.put(other, "k", bytes("2"), KEY, scope())).toBe(1n);
    await sound.store.deleteBucket(bucket, scope());
    await sound.store.createBucket({ name: bucket }, scope());
    await sound.store.put(bucket, "k", bytes("3"), KEY, scope());
    expect(await read()).toBe("3");
  });

  it.each(["", " ", "a b", "é", "a\r\nb", "\u007f", "x".repeat(129)])(
    "is malformed: %j",
    async (idempotencyKey) => {
      const put = sound.store.put(bucket, "k", bytes("v"), { idempotencyKey }, scope());
      if (idempotencyKey === "") expect(await put).toBe(1n);
      else await expectRefusal(put, "invalid_argument");
    },
  );

  it("may have 128 characters", async () => {
    const options = { idempotencyKey: "~".repeat(128), contentType: "x".repeat(255) };
    expect(await sound.store.put(bucket, "k", bytes("v"), options, scope())).toBe(1n);
  });
});

describe("a request that was refused", () => {
  it.each([KEY, { ...KEY, sentBefore: { after: 2n } }])("is decided anew", async (again) => {
    const create = (options: WriteOptions): Promise<bigint> =>
      sound.store.put(bucket, "k", bytes("v"), { ...options, condition: "if_absent" }, scope());
    await old();
    await expectRefusal(create(KEY), "key_exists", 1n);
    await sound.store.delete(bucket, "k", {}, scope());
    expect(await create(again)).toBe(3n);
    expect(await create(again)).toBe(3n);
    await theirs();
    expect(await create(again)).toBe(3n);
  });

  it("is decided anew when it was a delete that found nothing", async () => {
    expect(await sound.store.delete(bucket, "k", KEY, scope())).toBe(0n);
    await old();
    expect(await sound.store.delete(bucket, "k", KEY, scope())).toBe(2n);
    expect(await faulty.store.delete(bucket, "k", KEY, scope())).toBe(2n);
  });
});

describe("a write that is refused because the storage is away", () => {
  it("is never applied, also not when the storage is back", async () => {
    link.isDown = true;
    link.cut();
    for await (const status of faulty.connection.status()) if (status.type === "disconnect") break;
    const writes = Array.from({ length: 100 }, (_, index) =>
      refusal(
        faulty.store.put(bucket, `late.${index}`, bytes("v"), index % 2 === 0 ? {} : KEY, scope(Infinity)),
      ),
    );
    for (const error of await Promise.all(writes)) expect(error.kind).toBe("unavailable");
    link.heal();
    await connected();
    // What was waiting in the connection would have been sent before this.
    expect(await faulty.store.put(bucket, "k", bytes("v"), {}, scope())).toBe(1n);
  });

  it(
    "is told apart from one that was under way when the connection broke, at every moment",
    { timeout: 60_000 },
    async () => {
      await sound.store.put(bucket, "k", bytes("v"), {}, scope());
      const applied = new Map<string, string>();
      for (let round = 0; round < 20; round++) {
        await connected();
        const writes: Promise<void>[] = [];
        const put = async (index: number): Promise<void> => {
          const key = `r${round}.${index}`;
          try {
            await faulty.store.put(bucket, key, bytes(key), {}, scope());
            applied.set(key, "applied");
          } catch (error) {
            applied.set(key, (error as KvError).kind);
          }
        };
        for (let index = 0; index < 20; index++) {
          writes.push(put(index));
          if (index === round) link.cut();
          if (index % 4 === round % 4) await new Promise(setImmediate);
        }
        await Promise.all(writes);
      }
      const { items } = await sound.store.listKeys(bucket, ["r*.*"], { limit: 0, pageToken: "" }, scope());
      const stored = new Set(items);
      for (const [key, outcome] of applied) {
        expect(["applied", "unavailable"], key).toContain(outcome);
        expect(stored.has(key), `${key}: ${outcome}`).toBe(outcome === "applied");
      }
    },
  );
});

describe("a request that says that it was sent before, and was not", () => {
  it("is applied where the storage would remember it", async () => {
    const limits = { ...DEFAULT_LIMITS, idempotencyWindowMs: 1_000 };
    const copy = await openStore(server.url, { limits });
    const name = newBucketName();
    await copy.store.createBucket({ name }, scope());
    const put = (options: WriteOptions): Promise<bigint> =>
      copy.store.put(name, "k", bytes("v"), options, scope());
    await new Promise((resolve) => setTimeout(resolve, limits.idempotencyWindowMs / 2));
    await put({});
    // A machine that stalls in the middle of it may find that the window is over.
    const stubbornly = async (): Promise<bigint> => {
      try {
        return await put({ ...KEY, sentBefore: { after: 0n, ageMs: 0 } });
      } catch {
        return stubbornly();
      }
    };
    expect(await stubbornly()).toBe(2n);
    await copy.close();
  });

  it("is not known where the storage may have been restarted since", async () => {
    await theirs();
    await expectRefusal(sound.store.put(bucket, "k", bytes("v"), BLIND_RETRY, scope()), "outcome_unknown");
    expect(await read()).toBe("theirs");
  });

  it("is applied where the key was never written", async () => {
    expect(await sound.store.put(bucket, "k", bytes("v"), BLIND_RETRY, scope())).toBe(1n);
  });
});

/** Resolves when both stores are connected. */
async function connected(): Promise<void> {
  for (const { store } of [faulty, sound]) {
    for (let isUp = false; !isUp; await new Promise((resolve) => setTimeout(resolve, 5))) {
      isUp = await store.ping(scope(1_000)).then(
        () => true,
        () => false,
      );
    }
  }
}
