/** Writes with an idempotency key that are sent again after this copy, or the storage, lost some of what it knew of the first sending. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Store, WriteOptions } from "../../src/kv/store.js";
import { startNatsCluster } from "../support/nats-cluster.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type FaultyLink, openFaultyLink } from "./faulty-link.js";
import { holdRequests } from "./held-requests.js";
import { bytes, expectRefusal, historyOf, newBucketName, refusal, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

const KEY: WriteOptions = { idempotencyKey: "5f0c9a52-2f0f-4a06-9d3b-6c4a1f1f7a55" };
const RETRY: WriteOptions = { ...KEY, sentBefore: { after: 0n, ageMs: 5 } };
const KEYED_WRITES_MAX = 4;
/** How long a copy of the service uses what it read of a bucket, in milliseconds. */
const FACTS_MS = 1_000;

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
  const limits = { ...DEFAULT_LIMITS, keyedWritesMax: KEYED_WRITES_MAX };
  [faulty, sound] = await Promise.all([openStore(link.url, { limits }), openStore(server.url)]);
  bucket = newBucketName();
  await sound.store.createBucket({ name: bucket }, scope());
});
afterEach(async () => {
  link.heal();
  await Promise.all([faulty.close(), sound.close()]);
  await link.close();
});

const put = (store: Store, value: string, options: WriteOptions = {}, within = scope()): Promise<bigint> =>
  store.put(bucket, "k", bytes(value), options, within);
const read = async (): Promise<string> => text((await sound.store.get(bucket, "k", 0n, scope())).value);

async function untilConnected({ store }: OpenStore): Promise<void> {
  const isUp = (): Promise<boolean> =>
    store.ping(scope(1_000)).then(
      () => true,
      () => false,
    );
  while (!(await isUp())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Begins a write that is applied and gets no answer; `giveUp` ends it. */
async function loseAnswer(): Promise<{ giveUp: () => Promise<void> }> {
  const aborter = new AbortController();
  const lost = link.loseAnswersTo("Nats-Msg-Id");
  const outcome = refusal(put(faulty.store, "mine", KEY, scope(60_000, aborter.signal)));
  await lost;
  while ((await historyOf(sound.store, bucket, "k", scope()).catch(() => [])).length === 0);
  return {
    async giveUp() {
      aborter.abort();
      expect((await outcome).kind).toBe("outcome_unknown");
    },
  };
}

async function disconnect(): Promise<void> {
  link.isDown = true;
  link.cut();
  while (faulty.link.isConnected) await new Promise(setImmediate);
}

describe("while NATS is away", () => {
  it("a write that waits for an earlier sending is unknown when its time is over", async () => {
    const { giveUp } = await loseAnswer();
    await disconnect();
    await expectRefusal(put(faulty.store, "mine", KEY, scope(50)), "outcome_unknown");
    await giveUp();
  });

  it("a write is unknown whose earlier sending is", async () => {
    const { giveUp } = await loseAnswer();
    await disconnect();
    await giveUp();
    await expectRefusal(put(faulty.store, "mine", KEY, scope(50)), "outcome_unknown");
  });

  it("a write is unknown whose earlier sending was acknowledged", async () => {
    await put(faulty.store, "mine", KEY);
    await disconnect();
    await expectRefusal(put(faulty.store, "mine", KEY, scope(50)), "outcome_unknown");
    const again = put(faulty.store, "mine", KEY, scope(60_000));
    link.heal();
    expect(await again).toBe(1n);
  });
});

it("an earlier sending whose outcome is unknown is not forgotten where the next one fails", async () => {
  const { giveUp } = await loseAnswer();
  await disconnect();
  await giveUp();
  link.heal();
  await untilConnected(faulty);
  // The next one finds that the bucket is the same, and then can't read its facts, as those of the start are too old.
  let held = holdRequests(faulty.connection, "STREAM.INFO");
  const failed = refusal(put(faulty.store, "mine", KEY, scope(2_000)));
  for (const waitMs of [0, FACTS_MS]) {
    await held.seen(1);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    held.release();
    held = holdRequests(faulty.connection, "STREAM.INFO");
  }
  await failed;
  held.release();
  // Nor where the next one is refused for what says nothing of the earlier one.
  await sound.store.updateBucket(bucket, { maxValueSize: 1 }, scope());
  await disconnect();
  link.heal();
  await untilConnected(faulty);
  await expectRefusal(put(faulty.store, "mine", KEY), "value_too_large");
  await sound.store.updateBucket(bucket, { maxValueSize: 0 }, scope());
  await put(sound.store, "theirs");
  await server.stop("SIGKILL");
  await server.start();
  await Promise.all([faulty, sound].map(untilConnected));
  await expectRefusal(put(faulty.store, "mine", KEY), "outcome_unknown");
  expect(await read()).toBe("theirs");
});

it("a copy of the service that forgot a write for many others asks the storage", async () => {
  expect(await put(faulty.store, "mine", KEY)).toBe(1n);
  await put(sound.store, "theirs");
  // Known to this copy: another request with the same key is told apart.
  await expectRefusal(put(faulty.store, "other", KEY), "idempotency_key_reused", 1n);
  for (let count = 0; count < KEYED_WRITES_MAX; count++) {
    const options = { idempotencyKey: `filler-${count}` };
    await faulty.store.put(bucket, `filler.${count}`, bytes("v"), options, scope());
  }
  for (const options of [KEY, RETRY]) expect(await put(faulty.store, "mine", options)).toBe(1n);
  // The entry is gone: the key alone counts.
  expect(await put(sound.store, "other", KEY)).toBe(1n);
  expect(await read()).toBe("theirs");
});

it("a write has its result whose entry an import replaced", async () => {
  expect(await put(faulty.store, "mine", KEY)).toBe(1n);
  const entry = { key: "k", value: bytes("theirs"), operation: "put", contentType: "" } as const;
  await sound.store.importEntries(bucket, 1n, [entry], scope());
  for (const { store } of [faulty, sound]) {
    for (const options of [KEY, RETRY]) expect(await put(store, "mine", options)).toBe(1n);
  }
  expect(await read()).toBe("theirs");
});

describe("in a bucket of another program, which evicts the oldest entries", () => {
  beforeEach(async () => {
    bucket = newBucketName();
    const config = {
      name: `KV_APP_${bucket}`,
      subjects: [`$KV.APP_${bucket}.>`],
      max_msgs_per_subject: 1,
      max_msgs: 3,
      discard: "old",
      allow_rollup_hdrs: true,
      allow_direct: true,
      num_replicas: 1,
    };
    await sound.connection.request(`$JS.API.STREAM.CREATE.${config.name}`, JSON.stringify(config));
  });
  const evict = async (): Promise<void> => {
    for (let index = 0; index < 3; index++) {
      await sound.store.put(bucket, `filler.${index}`, bytes("v"), {}, scope());
    }
    await expectRefusal(sound.store.get(bucket, "k", 0n, scope()), "key_not_found");
  };

  it("a write has its result, or is unknown where the storage was restarted", async () => {
    expect(await put(faulty.store, "mine", KEY)).toBe(1n);
    await evict();
    for (const { store } of [faulty, sound]) {
      for (const options of [KEY, RETRY]) expect(await put(store, "mine", options)).toBe(1n);
    }
    await server.stop("SIGKILL");
    await server.start();
    const fresh = await openStore(server.url);
    await expectRefusal(put(fresh.store, "mine", { ...KEY, sentBefore: { after: 0n } }), "outcome_unknown");
    await fresh.close();
  });
});

it("a write has its result on a cluster whose leader changed, or died", { timeout: 120_000 }, async () => {
  const cluster = await startNatsCluster();
  const urls = cluster.servers.map(({ url }) => url);
  const copies = await Promise.all([1, 2].map(() => openStore(urls, { isClustered: true, replicas: 3 })));
  const [one, other] = copies;
  try {
    if (one === undefined || other === undefined) throw new Error("no copies");
    const created = (): Promise<boolean> =>
      one.store.createBucket({ name: bucket }, scope(30_000)).then(
        () => true,
        () => false,
      );
    while (!(await created()));
    /** A cluster without a leader refuses; then nothing was written. */
    const stubbornly = async (store: Store, value: string, options: WriteOptions): Promise<bigint> => {
      for (;;) {
        const done = await put(store, value, options, scope(60_000)).catch(
          (error: unknown) => error as KvError,
        );
        if (typeof done === "bigint") return done;
        if (done.kind !== "unavailable") throw done;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    expect(await stubbornly(one.store, "mine", KEY)).toBe(1n);
    expect(await stubbornly(other.store, "theirs", {})).toBe(2n);
    // A stream without a leader does not answer.
    const leader = async (): Promise<string> => {
      const info = one.connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`, "", { timeout: 1_000 });
      const reply = await info.catch(() => undefined);
      return reply?.json<{ cluster?: { leader?: string } }>().cluster?.leader ?? "";
    };
    const before = await leader();
    await one.connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.KV_APP_${bucket}`, "", { timeout: 30_000 });
    while ([before, ""].includes(await leader())) await new Promise((resolve) => setTimeout(resolve, 50));
    for (const options of [KEY, RETRY]) expect(await stubbornly(other.store, "mine", options)).toBe(1n);
    await cluster.servers[Number((await leader()).slice(1))]?.stop("SIGKILL");
    for (const options of [KEY, RETRY]) expect(await stubbornly(other.store, "mine", options)).toBe(1n);
    expect(text((await other.store.get(bucket, "k", 0n, scope(60_000))).value)).toBe("theirs");
  } finally {
    await Promise.all(copies.map((copy) => copy.close()));
    await cluster.remove();
  }
});
