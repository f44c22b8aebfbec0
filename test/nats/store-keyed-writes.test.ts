/** Writes with an idempotency key that are sent again after this copy, or the storage, lost some of what it knew of the first sending. */
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import type { WriteOptions } from "../../src/kv/writes.js";
import { startNatsCluster } from "../support/nats-cluster.js";
import { holdRequests } from "./held-requests.js";
import { createOnCluster, moveLeader } from "./on-clusters.js";
import { bytes, expectRefusal, newBucketName, refusal, scope, text } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { KEY, type TwoCopies, twoCopiesTest } from "./two-copies.js";
import { untilAvailable } from "./until-available.js";

const RETRY: WriteOptions = { ...KEY, sentBefore: { after: 0n, ageMs: 5 } };
const KEYED_WRITES_MAX = 4;
/** How long a copy of the service uses what it read of a bucket, in milliseconds. */
const FACTS_MS = 1_000;

// Of its own, as it is restarted.
const it = twoCopiesTest({
  ownServer: {},
  bucket: {},
  faultyLimits: { ...DEFAULT_LIMITS, keyedWritesMax: KEYED_WRITES_MAX },
});

/** Begins a write that is applied and gets no answer; `giveUp` ends it. */
async function loseAnswer(copies: TwoCopies): Promise<{ giveUp: () => Promise<void> }> {
  const aborter = new AbortController();
  const lost = copies.link.loseAnswersTo("Nats-Msg-Id");
  const outcome = refusal(copies.put(copies.faulty.store, "mine", KEY, scope(60_000, aborter.signal)));
  await lost;
  await copies.untilStored();
  return {
    async giveUp() {
      aborter.abort();
      expect((await outcome).kind).toBe("outcome_unknown");
    },
  };
}

describe("while NATS is away", () => {
  it("a write that waits for an earlier sending is unknown after its deadline", async ({ copies }) => {
    const { giveUp } = await loseAnswer(copies);
    await copies.disconnect();
    await expectRefusal(copies.put(copies.faulty.store, "mine", KEY, scope(50)), "outcome_unknown");
    await giveUp();
  });

  it("a write is unknown whose earlier sending is", async ({ copies }) => {
    const { giveUp } = await loseAnswer(copies);
    await copies.disconnect();
    await giveUp();
    await expectRefusal(copies.put(copies.faulty.store, "mine", KEY, scope(50)), "outcome_unknown");
  });

  it("a write is unknown whose earlier sending was acknowledged", async ({ copies }) => {
    await copies.put(copies.faulty.store, "mine", KEY);
    await copies.disconnect();
    await expectRefusal(copies.put(copies.faulty.store, "mine", KEY, scope(50)), "outcome_unknown");
    const again = copies.put(copies.faulty.store, "mine", KEY, scope(60_000));
    copies.link.heal();
    expect(await again).toBe(1n);
  });
});

it("an earlier sending whose outcome is unknown is not forgotten where the next one fails", async ({
  copies,
  server,
}) => {
  const { giveUp } = await loseAnswer(copies);
  await copies.disconnect();
  await giveUp();
  copies.link.heal();
  await copies.untilConnected();
  // The next one finds that the bucket is the same, and then can't read its facts, as those of the start are too old.
  let held = holdRequests(copies.faulty.connection, "STREAM.INFO");
  const aborter = new AbortController();
  const failed = refusal(copies.put(copies.faulty.store, "mine", KEY, scope(60_000, aborter.signal)));
  for (const waitMs of [0, FACTS_MS]) {
    await held.seen(1);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    held.release();
    held = holdRequests(copies.faulty.connection, "STREAM.INFO");
  }
  await held.seen(1);
  aborter.abort();
  await failed;
  held.release();
  // Nor where the next one is refused for what says nothing of the earlier one.
  await copies.sound.store.updateBucket(copies.bucket, { maxValueSize: 1 }, scope());
  await copies.disconnect();
  copies.link.heal();
  await copies.untilConnected();
  await expectRefusal(copies.put(copies.faulty.store, "mine", KEY), "value_too_large");
  await copies.sound.store.updateBucket(copies.bucket, { maxValueSize: 0 }, scope());
  await copies.put(copies.sound.store, "theirs");
  await server.stop("SIGKILL");
  await server.start();
  await copies.untilConnected();
  await expectRefusal(copies.put(copies.faulty.store, "mine", KEY), "outcome_unknown");
  expect(await copies.read()).toBe("theirs");
});

it("a copy of the service that forgot a write for many others asks the storage", async ({ copies }) => {
  expect(await copies.put(copies.faulty.store, "mine", KEY)).toBe(1n);
  await copies.put(copies.sound.store, "theirs");
  // Known to this copy: another request with the same key is told apart.
  await expectRefusal(copies.put(copies.faulty.store, "other", KEY), "idempotency_key_reused", 1n);
  for (let count = 0; count < KEYED_WRITES_MAX; count++) {
    const options = { idempotencyKey: `filler-${count}` };
    await copies.faulty.store.put(copies.bucket, `filler.${count}`, bytes("v"), options, scope());
  }
  for (const options of [KEY, RETRY]) expect(await copies.put(copies.faulty.store, "mine", options)).toBe(1n);
  // The entry is gone: the key alone counts.
  expect(await copies.put(copies.sound.store, "other", KEY)).toBe(1n);
  expect(await copies.read()).toBe("theirs");
});

it("a write has its result whose entry an import replaced", async ({ copies }) => {
  expect(await copies.put(copies.faulty.store, "mine", KEY)).toBe(1n);
  const entry = { key: "k", value: bytes("theirs"), operation: "put", contentType: "" } as const;
  await copies.sound.store.importEntries(copies.bucket, 1n, [entry], scope());
  for (const { store } of [copies.faulty, copies.sound]) {
    for (const options of [KEY, RETRY]) expect(await copies.put(store, "mine", options)).toBe(1n);
  }
  expect(await copies.read()).toBe("theirs");
});

describe("in a bucket of another program, which evicts the oldest entries", () => {
  it.beforeEach(async ({ open, bucket }) => {
    await open.store.deleteBucket(bucket, scope());
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
    await open.connection.request(`$JS.API.STREAM.CREATE.${config.name}`, JSON.stringify(config));
  });
  const evict = async (copies: TwoCopies): Promise<void> => {
    for (let index = 0; index < 3; index++) {
      await copies.sound.store.put(copies.bucket, `filler.${index}`, bytes("v"), {}, scope());
    }
    await expectRefusal(copies.sound.store.get(copies.bucket, "k", 0n, scope()), "key_not_found");
  };

  it("a write has its result, or is unknown where the storage was restarted", async ({ copies, server }) => {
    expect(await copies.put(copies.faulty.store, "mine", KEY)).toBe(1n);
    await evict(copies);
    for (const { store } of [copies.faulty, copies.sound]) {
      for (const options of [KEY, RETRY]) expect(await copies.put(store, "mine", options)).toBe(1n);
    }
    await server.stop("SIGKILL");
    await server.start();
    const fresh = await openStore(server.url);
    await expectRefusal(
      copies.put(fresh.store, "mine", { ...KEY, sentBefore: { after: 0n } }),
      "outcome_unknown",
    );
    await fresh.close();
  });
});

it("a write has its result on a cluster whose leader changed, or died", { timeout: 120_000 }, async () => {
  const bucket = newBucketName();
  const cluster = await startNatsCluster();
  const urls = cluster.servers.map(({ url }) => url);
  const copies = await Promise.all([1, 2].map(() => openStore(urls, { isClustered: true, replicas: 3 })));
  const [one, other] = copies;
  try {
    if (one === undefined || other === undefined) throw new Error("no copies");
    await createOnCluster(one.store, { name: bucket });
    // A cluster without a leader refuses; then nothing was written.
    const put = (store: Store, value: string, options: WriteOptions): Promise<bigint> =>
      untilAvailable(() => store.put(bucket, "k", bytes(value), options, scope(60_000)), {
        retry: ["unavailable"],
      });
    expect(await put(one.store, "mine", KEY)).toBe(1n);
    expect(await put(other.store, "theirs", {})).toBe(2n);
    const leader = await moveLeader(one.connection, bucket);
    for (const options of [KEY, RETRY]) expect(await put(other.store, "mine", options)).toBe(1n);
    await cluster.servers[Number(leader.slice(1))]?.stop("SIGKILL");
    for (const options of [KEY, RETRY]) expect(await put(other.store, "mine", options)).toBe(1n);
    expect(text((await other.store.get(bucket, "k", 0n, scope(60_000))).value)).toBe("theirs");
  } finally {
    await Promise.all(copies.map((copy) => copy.close()));
    await cluster.remove();
  }
});
