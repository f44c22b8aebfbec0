/** What becomes of calls when the connection to NATS breaks, or NATS is silent: nothing is told that is not known. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { KvErrorKind } from "../../src/kv/errors.js";
import type { CallScope, Store } from "../../src/kv/store.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type FaultyLink, openFaultyLink } from "./faulty-link.js";
import { bytes, expectRefusal, historyOf, newBucketName, refusal, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

let server: TestNatsServer;
let link: FaultyLink;
/** The store under test, over the link, and one beside it that sees what is stored. */
let faulty: OpenStore;
let sound: OpenStore;
let store: Store;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer();
  sound = await openStore(server.url);
});

afterAll(async () => {
  await sound.close();
  await server.remove();
});

beforeEach(async () => {
  link = await openFaultyLink(server.port);
  faulty = await openStore(link.url);
  store = faulty.store;
  bucket = newBucketName();
  await store.createBucket({ name: bucket, history: 10 }, scope());
});

afterEach(async () => {
  link.heal();
  await faulty.close();
  await link.close();
});

const operations = async (key: string): Promise<string[]> =>
  (await historyOf(sound.store, bucket, key, scope())).map((entry) => `${entry.revision} ${entry.operation}`);

/** Waits until the other store sees the key's newest revision. */
async function untilStored(key: string, revision: bigint): Promise<void> {
  for (;;) {
    const entries = await historyOf(sound.store, bucket, key, scope()).catch(() => []);
    if ((entries.at(-1)?.revision ?? 0n) >= revision) return;
  }
}

async function untilHistoryIs(history: number): Promise<void> {
  while ((await sound.store.getBucket(bucket, scope())).history !== history);
}

async function disconnected(): Promise<void> {
  link.isDown = true;
  link.cut();
  for await (const status of faulty.connection.status()) if (status.type === "disconnect") return;
}

type Call = (within: CallScope) => Promise<bigint>;

describe("a write whose answer is lost with the connection", () => {
  const writes: [string, string, () => Call, string[], KvErrorKind | "applied"][] = [
    [
      "put",
      "PUBLISH",
      () => (within) => store.put(bucket, "k", bytes("new"), {}, within),
      ["1 put", "2 put"],
      "applied",
    ],
    [
      "put if revision",
      "PUBLISH",
      () => (within) => store.put(bucket, "k", bytes("new"), { condition: { ifRevision: 1n } }, within),
      ["1 put", "2 put"],
      "applied",
    ],
    [
      "delete",
      "DEL",
      () => (within) => store.delete(bucket, "k", {}, within),
      ["1 put", "2 delete"],
      "applied",
    ],
    [
      "delete if revision",
      "DEL",
      () => (within) => store.delete(bucket, "k", { condition: { ifRevision: 1n } }, within),
      ["1 put", "2 delete"],
      "applied",
    ],
    [
      "purge",
      "PURGE",
      () => (within) => store.delete(bucket, "k", { purge: true }, within),
      ["2 purge"],
      "applied",
    ],
  ];

  it.each(writes)("is found to be applied, once, when NATS is back: %s", async (_, __, call, expected) => {
    await sound.store.put(bucket, "k", bytes("old"), {}, scope());
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcome = call()(scope());
    await lost;
    await untilStored("k", 2n);
    link.cut();
    expect(await outcome).toBe(2n);
    expect(await operations("k")).toEqual(expected);
  });

  it.each(writes)(
    "is sent again, and applied once, when it never arrived: %s",
    async (_, __, call, expected) => {
      await sound.store.put(bucket, "k", bytes("old"), {}, scope());
      const lost = link.loseRequest("Nats-Msg-Id");
      const outcome = call()(scope());
      await lost;
      link.cut();
      expect(await outcome).toBe(2n);
      expect(await operations("k")).toEqual(expected);
    },
  );

  it("is found to be applied also if it was to happen only once: put if absent", async () => {
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcome = store.put(bucket, "k", bytes("v"), { condition: "if_absent" }, scope());
    await lost;
    await untilStored("k", 1n);
    link.cut();
    expect(await outcome).toBe(1n);
  });

  it("is refused for its condition when it never arrived and somebody was first", async () => {
    await store.put(bucket, "k", bytes("old"), {}, scope());
    await sound.store.put(bucket, "k", bytes("theirs"), {}, scope());
    const lost = link.loseRequest("Nats-Msg-Id");
    const outcome = refusal(
      store.put(bucket, "k", bytes("mine"), { condition: { ifRevision: 1n } }, scope()),
    );
    await lost;
    link.cut();
    expect(["revision_mismatch", "outcome_unknown"]).toContain((await outcome).kind);
    expect(await operations("k")).toEqual(["1 put", "2 put"]);
  });

  it("is found to be applied also where somebody wrote over it", async () => {
    await store.put(bucket, "k", bytes("old"), {}, scope());
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcome = store.put(bucket, "k", bytes("mine"), {}, scope());
    await lost;
    await untilStored("k", 2n);
    await sound.store.put(bucket, "k", bytes("theirs"), {}, scope());
    link.cut();
    expect(await outcome).toBe(2n);
    expect(text((await sound.store.get(bucket, "k", 0n, scope())).value)).toBe("theirs");
  });

  it("is not known when NATS does not come back in time", async () => {
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcome = refusal(store.put(bucket, "k", bytes("v"), {}, scope(300)));
    await lost;
    link.isDown = true;
    link.cut();
    expect((await outcome).kind).toBe("outcome_unknown");
  });

  it("is not known when NATS is silent until the caller's time is over, or the caller gives up", async () => {
    const aborter = new AbortController();
    await store.put(bucket, "k", bytes("first"), {}, scope());
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcomes = [
      refusal(store.put(bucket, "k", bytes("v"), {}, scope(200))),
      refusal(store.put(bucket, "k", bytes("v"), {}, scope(10_000, aborter.signal))),
    ];
    await lost;
    aborter.abort();
    expect((await Promise.all(outcomes)).map((error) => error.kind)).toEqual([
      "outcome_unknown",
      "outcome_unknown",
    ]);
  });

  const bucketChanges: [string, (within: CallScope) => Promise<unknown>][] = [
    ["createBucket", (within) => store.createBucket({ name: newBucketName(), history: 2 }, within)],
    ["updateBucket", (within) => store.updateBucket(bucket, { history: 2 }, within)],
    ["deleteBucket", (within) => store.deleteBucket(bucket, within)],
  ];
  const subjectOf = (name: string): string => `STREAM.${name.slice(0, 6).toUpperCase()}`;

  it.each(bucketChanges)("is found to be applied if it was about a bucket: %s", async (name, call) => {
    const lost = link.loseAnswersTo(subjectOf(name));
    const outcome = call(scope());
    await lost;
    link.cut();
    const info = await outcome;
    if (name === "deleteBucket")
      await expectRefusal(sound.store.getBucket(bucket, scope()), "bucket_not_found");
    else expect(info).toMatchObject({ history: 2 });
  });

  it.each(bucketChanges)(
    "is made when it never arrived, if it was about a bucket: %s",
    async (name, call) => {
      const lost = link.loseRequest(subjectOf(name));
      const outcome = call(scope());
      await lost;
      link.cut();
      const info = await outcome;
      if (name === "deleteBucket")
        await expectRefusal(sound.store.getBucket(bucket, scope()), "bucket_not_found");
      else expect(info).toMatchObject({ history: 2 });
    },
  );

  it.each(bucketChanges)(
    "is not known if it was about a bucket, and NATS stays away: %s",
    async (name, call) => {
      const aborter = new AbortController();
      const lost = link.loseAnswersTo(subjectOf(name));
      const outcome = refusal(call(scope(60_000, aborter.signal)));
      await lost;
      link.isDown = true;
      link.cut();
      aborter.abort();
      expect((await outcome).kind).toBe("outcome_unknown");
    },
  );

  it("is not the creation of a bucket that somebody else made meanwhile", async () => {
    const name = newBucketName();
    const lost = link.loseRequest("STREAM.CREATE");
    const outcome = refusal(store.createBucket({ name }, scope()));
    await lost;
    await sound.store.createBucket({ name }, scope());
    link.cut();
    expect((await outcome).kind).toBe("bucket_exists");
  });

  it("is not the deletion of a bucket that another program recreated meanwhile", async () => {
    const lost = link.loseRequest("STREAM.DELETE");
    const outcome = store.deleteBucket(bucket, scope());
    await lost;
    await sound.connection.request(`$JS.API.STREAM.DELETE.KV_APP_${bucket}`);
    await sound.store.createBucket({ name: bucket }, scope());
    link.cut();
    await outcome;
    expect(await sound.store.getBucket(bucket, scope())).toMatchObject({ name: bucket });
  });

  it("is known when another program changed the bucket meanwhile", async () => {
    const lost = link.loseAnswersTo("STREAM.UPDATE");
    const outcome = store.updateBucket(bucket, { history: 2 }, scope());
    await lost;
    await untilHistoryIs(2);
    const info = await sound.connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`);
    const changed = { ...info.json<{ config: object }>().config, description: "theirs" };
    await sound.connection.request(`$JS.API.STREAM.UPDATE.KV_APP_${bucket}`, JSON.stringify(changed));
    link.cut();
    expect(await outcome).toMatchObject({ history: 2, description: "theirs" });
  });
});

describe("while NATS is away", () => {
  const calls: [string, (within: CallScope) => Promise<unknown>][] = [
    ["createBucket", (within) => store.createBucket({ name: newBucketName() }, within)],
    ["getBucket", (within) => store.getBucket(bucket, within)],
    ["listBuckets", (within) => store.listBuckets({ limit: 0, pageToken: "" }, within)],
    ["updateBucket", (within) => store.updateBucket(bucket, { history: 2 }, within)],
    ["deleteBucket", (within) => store.deleteBucket(bucket, within)],
    ["get", (within) => store.get(bucket, "k", 0n, within)],
    ["put", (within) => store.put(bucket, "k", bytes(""), {}, within)],
    ["put if absent", (within) => store.put(bucket, "k", bytes(""), { condition: "if_absent" }, within)],
    ["delete", (within) => store.delete(bucket, "k", {}, within)],
    ["listKeys", (within) => store.listKeys(bucket, [], { limit: 0, pageToken: "" }, within)],
    ["history", (within) => historyOf(store, bucket, "k", within)],
    ["ping", (within) => store.ping(within)],
  ];

  it.each(calls)("%s is refused at once, as safe to try again", async (_, call) => {
    await disconnected();
    // A scope without end: only an answer at once ends this.
    await expectRefusal(call(scope(Infinity)), "unavailable");
  });

  it("everything goes on when it is back", async () => {
    await store.put(bucket, "k", bytes("v"), {}, scope());
    await disconnected();
    await expectRefusal(store.get(bucket, "k", 0n, scope()), "unavailable");
    link.heal();
    await expect.poll(() => faulty.link.isConnected && faulty.bulk.isConnected).toBe(true);
    expect(text((await store.get(bucket, "k", 0n, scope())).value)).toBe("v");
    expect((await store.getBucket(bucket, scope())).values).toBe(1);
  });
});

describe("a read that NATS does not answer", () => {
  const reads: [string, string, (within: CallScope) => Promise<unknown>][] = [
    ["get", "DIRECT.GET", (within) => store.get(bucket, "k", 0n, within)],
    ["get at a revision", "DIRECT.GET", (within) => store.get(bucket, "k", 1n, within)],
    ["history", "DIRECT.GET", (within) => historyOf(store, bucket, "k", within)],
    ["getBucket", "CONSUMER.CREATE", (within) => store.getBucket(bucket, within)],
    [
      "listKeys",
      "CONSUMER.CREATE",
      (within) => store.listKeys(bucket, [], { limit: 0, pageToken: "" }, within),
    ],
    ["listBuckets", "STREAM.NAMES", (within) => store.listBuckets({ limit: 0, pageToken: "" }, within)],
  ];

  beforeEach(async () => {
    await store.put(bucket, "k", bytes("v"), {}, scope());
  });

  it.each(reads)("fails at once when the connection breaks: %s", async (_, request, call) => {
    const lost = link.loseAnswersTo(request);
    const outcome = refusal(call(scope(Infinity)));
    await lost;
    link.cut();
    expect((await outcome).kind).toBe("unavailable");
  });

  it.each(reads)("fails when the caller's time is over: %s", async (_, request, call) => {
    const lost = link.loseAnswersTo(request);
    const outcome = refusal(call(scope(100)));
    await lost;
    expect((await outcome).kind).toBe("deadline_exceeded");
  });

  it.each(reads)("fails when the caller gives up: %s", async (_, request, call) => {
    const aborter = new AbortController();
    const lost = link.loseAnswersTo(request);
    const outcome = refusal(call(scope(Infinity, aborter.signal)));
    await lost;
    aborter.abort();
    expect((await outcome).kind).toBe("canceled");
  });
});
