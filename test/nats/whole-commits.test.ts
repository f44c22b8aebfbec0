/** Reads show a commit as a whole: also while its messages are still arriving. */
import { headers as natsHeaders, type NatsConnection } from "@nats-io/transport-node";
import { expect } from "vitest";
import { storeTest } from "../support/fixtures.js";
import { bytes, scope } from "./store-contract.js";

const it = storeTest({ bucket: {} });
const KEYS = ["a", "b"];

/** Stores a write of a commit that `following` writes are to follow. */
async function storePart(connection: NatsConnection, bucket: string, key: string, following: number) {
  const headers = natsHeaders();
  headers.set("Ironflow-Commit", String(following));
  await connection.request(`$KV.APP_${bucket}.${key}`, "new", { headers, timeout: 60_000 });
}

it("waits for the rest of a commit", async ({ store, bucket, connection }) => {
  for (const key of KEYS) await store.put(bucket, key, bytes("old"), {}, scope());
  const values = async (): Promise<readonly (string | undefined)[]> => {
    const { results } = await store.batchGet(bucket, KEYS, 0n, scope());
    return results.map(({ entry }) => entry && Buffer.from(entry.value).toString());
  };
  expect(await values()).toEqual(["old", "old"]);
  const seen: unknown[] = [];
  for (let round = 0; round < 5; round++) {
    await storePart(connection, bucket, "a", 1);
    const reads = [values(), values()];
    const list = store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
    await connection.flush();
    await storePart(connection, bucket, "b", 0);
    seen.push(...(await Promise.all(reads)));
    expect((await list).revision).toBe(BigInt(2 + 2 * (round + 1)));
  }
  expect(new Set(seen.map(String))).toEqual(new Set(["new,new"]));
});

it("goes on without the rest where it does not come", async ({ store, bucket, connection }) => {
  await store.put(bucket, "b", bytes("old"), {}, scope());
  await store.batchGet(bucket, KEYS, 0n, scope());
  await storePart(connection, bucket, "a", 5);
  const { results, revision } = await store.batchGet(bucket, KEYS, 0n, scope());
  expect(results.map(({ entry }) => entry && Buffer.from(entry.value).toString())).toEqual(["new", "old"]);
  expect(revision).toBe(2n);
});
