/** What was deleted stays deleted when the storage is killed and rebuilds what it holds from its files. */
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName } from "../../src/kv/names.js";
import { MessageReader } from "../../src/nats/client/message-reader.js";
import { Requests } from "../../src/nats/client/requests.js";
import { decodeRuns, encodeRuns, notIn, runsWithout } from "../../src/nats/buckets/sequence-runs.js";
import { storedSequences } from "../../src/nats/buckets/stored-sequences.js";
import { Survivors } from "../../src/nats/buckets/survivors.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, expectRefusal, scope } from "./store-contract.js";
import { openStore, untilConnected } from "./store-support.js";

const it = storeTest({ ownServer: { syncAlways: true } })
  .extend("restart", ({ server, open }) => async (): Promise<void> => {
    await server.stop("SIGKILL");
    await server.start();
    await untilConnected(open);
  })
  .extend(
    "liveKeys",
    ({ open, bucket }) =>
      async (): Promise<readonly string[]> =>
        (await open.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items,
  )
  /** As nats-server sees them: how many messages the service's records of compactions are. */
  .extend("records", ({ open, bucket }) => async (): Promise<readonly string[]> => {
    const info = await open.connection
      .request("$JS.API.STREAM.INFO.KV_SYS_compactions", JSON.stringify({ subjects_filter: ">" }))
      .then((reply) => reply.json<{ state: { subjects?: Record<string, number> } }>());
    return Object.keys(info.state.subjects ?? {}).filter((subject) => subject.includes(`.${bucket}.`));
  })
  .extend("deletedAndCompacted", ({ open, bucket }) => async (key = "gone"): Promise<void> => {
    await open.store.put(bucket, key, bytes("1"), {}, scope());
    await open.store.put(bucket, key, bytes("2"), {}, scope());
    await open.store.delete(bucket, key, {}, scope());
    await open.store.compactBucket(bucket, scope());
  });

it.each([[[]], [[1, 1]], [[1, 127, 129, 16_384, 1_000_000, 2 ** 40, 2 ** 52, 2 ** 53 - 1]]])(
  "runs of sequences are recorded exactly, in parts of any size: %j",
  (runs) => {
    for (const partBytes of [1, 3, 1_000])
      expect(decodeRuns(Buffer.concat([...encodeRuns(runs, partBytes)]))).toEqual(runs);
  },
);

it("what is stored and was not recorded is found, up to the last recorded sequence", () => {
  const deleted = (mask: number): number[] =>
    Array.from({ length: 8 }, (_, n) => n + 1).filter((sequence) => (mask >> (sequence - 1)) % 2 === 1);
  const wrong: string[] = [];
  for (let now = 0; now < 256; now++)
    for (let then = 0; then < 256; then++) {
      const back = deleted(then).filter((sequence) => !deleted(now).includes(sequence) && sequence <= 6);
      const found = [...notIn(runsWithout(1, 8, deleted(then)), runsWithout(1, 8, deleted(now)), 6)];
      if (String(found) !== String(back))
        wrong.push(`recorded without ${then}, stored without ${now}: ${String(found)}`);
    }
  expect(wrong).toEqual([]);
});

it("the first list of buckets after a restart counts no deleted key", async ({
  open,
  bucket,
  deletedAndCompacted,
  restart,
}) => {
  await open.store.createBucket({ name: bucket }, scope());
  await open.store.put(bucket, "live", bytes("1"), {}, scope());
  await deletedAndCompacted();
  await restart();
  const { items } = await open.store.listBuckets(
    { limit: 0, pageToken: "" },
    scope(),
    (name) => name === bucket,
  );
  expect(items.map(({ values }) => values)).toEqual([1]);
});

it("a deleted bucket leaves no record of its compactions", async ({
  open,
  bucket,
  deletedAndCompacted,
  records,
}) => {
  await open.store.createBucket({ name: bucket }, scope());
  await deletedAndCompacted();
  expect(await records()).toHaveLength(1);
  await open.store.deleteBucket(bucket, scope());
  expect(await records()).toEqual([]);
});

it("records that no bucket names any more are removed after a while, others are not", async ({
  open,
  bucket,
  deletedAndCompacted,
  records,
}) => {
  await open.store.createBucket({ name: bucket }, scope());
  await deletedAndCompacted();
  const requests = new Requests(open.bulk);
  const survivors = new Survivors(requests, new MessageReader(requests, false, 1_048_576), DEFAULT_LIMITS, 1);
  const ids = new Set((await records()).map((subject) => subject.split(".").at(-2) ?? ""));
  for (let sweep = 0; sweep < 2; sweep++) await survivors.dropUnmarked(ids, 0, scope());
  expect(await records()).toHaveLength(1);
  await survivors.dropUnmarked(new Set(), 60_000, scope());
  await survivors.dropUnmarked(new Set(), 60_000, scope());
  expect(await records()).toHaveLength(1);
  await survivors.dropUnmarked(new Set(), 0, scope());
  expect(await records()).toEqual([]);
  requests.close();
});

it("what is stored is found by the deleted sequences, and by the messages where those are few", async ({
  open,
  bucket,
}) => {
  await open.store.createBucket({ name: bucket, history: 3 }, scope());
  const requests = new Requests(open.bulk);
  const place = { bucket, stream: streamName(bucket) };
  const runs = async (): Promise<readonly number[]> =>
    (await storedSequences(requests, place, 1_048_576, scope())).runs;
  expect(await runs()).toEqual([]);
  for (let n = 1; n <= 10; n++) await open.store.put(bucket, `k${n % 2}`, bytes("1"), {}, scope());
  await open.store.put(bucket, "one", bytes("1"), {}, scope());
  expect(await runs()).toEqual([5, 11]);
  await open.store.delete(bucket, "k0", { purge: true }, scope());
  expect(await runs()).toEqual([5, 5, 7, 7, 9, 9, 11, 12]);
  // 100 deleted sequences and three messages: read by messages.
  for (let n = 0; n < 100; n++) await open.store.put(bucket, "k1", bytes("1"), {}, scope());
  expect(await runs()).toEqual([11, 12, 110, 112]);
  requests.close();
});

describe.each([1, 2, 5, 8])("with a history of %i", (history) => {
  it.for(["delete", "purge"])("a compacted %s", async (operation, { open, bucket, restart, liveKeys }) => {
    const { store } = open;
    await store.createBucket({ name: bucket, history }, scope());
    for (let n = 0; n < 6; n++) await store.put(bucket, "gone", bytes(`${n}`), {}, scope());
    await store.put(bucket, "live", bytes("1"), {}, scope());
    await store.delete(bucket, "gone", { purge: operation === "purge" }, scope());
    await store.put(bucket, "later", bytes("1"), {}, scope());
    await store.compactBucket(bucket, scope());
    // A second one, over what was written since.
    await store.put(bucket, "live", bytes("2"), {}, scope());
    await store.put(bucket, "gone.2", bytes("1"), {}, scope());
    await store.put(bucket, "gone.2", bytes("2"), {}, scope());
    await store.delete(bucket, "gone.2", {}, scope());
    await store.compactBucket(bucket, scope());
    await store.put(bucket, "last", bytes("1"), {}, scope());
    for (let restarts = 0; restarts < 2; restarts++) {
      await restart();
      await expectRefusal(store.get(bucket, "gone", 0n, scope()), "key_not_found");
      expect(await liveKeys()).toEqual(["last", "later", "live"]);
      const live = await store.history(bucket, "live", { limit: 0, pageToken: "" }, scope());
      expect(live.items.map(({ value }) => Buffer.from(value).toString())).toEqual(
        history === 1 ? ["2"] : ["1", "2"],
      );
      await store.put(bucket, "gone", bytes("again"), { condition: "if_absent" }, scope());
      await store.delete(bucket, "gone", { purge: true }, scope());
      await store.compactBucket(bucket, scope());
    }
  });

  it("a key that was compacted by one copy while another one compacts", async ({
    open,
    server,
    bucket,
    restart,
    liveKeys,
  }) => {
    const { store } = open;
    const other = await openStore(server.url);
    await store.createBucket({ name: bucket, history }, scope());
    for (let round = 0; round < 10; round++) {
      for (const key of ["a", "b", "c"]) {
        await store.put(bucket, `${key}.${round}`, bytes("1"), {}, scope());
        await other.store.put(bucket, `${key}.${round}`, bytes("2"), {}, scope());
      }
      for (const key of ["a", "b"]) await store.delete(bucket, `${key}.${round}`, {}, scope());
      await Promise.all([store, other.store].map((copy) => copy.compactBucket(bucket, scope())));
    }
    await other.close();
    await restart();
    expect(await liveKeys()).toEqual(Array.from({ length: 10 }, (_, round) => `c.${round}`));
  });
});
