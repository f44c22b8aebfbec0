/** What was deleted stays deleted when the storage is killed and rebuilds what it holds from its files. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { decodeSequences, encodeSequences } from "../../src/nats/buckets/survivors.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, expectRefusal, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { tick } from "./watching.js";

let server: TestNatsServer;
let open: OpenStore;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer({ syncAlways: true });
  open = await openStore(server.url);
});
afterAll(async () => {
  await open.close();
  await server.remove();
});
beforeEach(() => {
  bucket = newBucketName();
});

async function restart(): Promise<void> {
  await server.stop("SIGKILL");
  await server.start();
  const isUp = (): Promise<boolean> =>
    open.store.ping(scope()).then(
      () => true,
      () => false,
    );
  while (!open.bulk.isConnected || !(await isUp())) await tick();
}

const liveKeys = async (): Promise<readonly string[]> =>
  (await open.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items;

it.each([[[]], [[1]], [[1, 127, 128, 129, 16_384, 1_000_000, 2 ** 40, 2 ** 53 - 1]]])(
  "sequences are recorded exactly: %j",
  (sequences) => {
    expect([...decodeSequences(encodeSequences(sequences))]).toEqual(sequences);
  },
);

describe.each([1, 2, 5, 8])("with a history of %i", (history) => {
  it.each(["delete", "purge"])("a compacted %s", async (operation) => {
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

  it("a key that was compacted by one copy while another one compacts", async () => {
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
