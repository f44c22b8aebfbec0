/** Imports into a bucket that other programs write to at the same moment. */
import { setImmediate } from "node:timers/promises";
import { Kvm } from "@nats-io/kv";
import { expect } from "vitest";
import { storeTest } from "../support/fixtures.js";
import { scope } from "./store-contract.js";

const it = storeTest({ bucket: {} });

it("writes a first part of the entries without a gap, and says how many", async ({
  store,
  bucket,
  connection,
}) => {
  const foreign = await new Kvm(connection).open(`APP_${bucket}`);
  // It takes as many rounds as it takes until the writes of two connections meet.
  // So large that the server does not read all of a call at once.
  const value = new Uint8Array(8_192);
  const imported: bigint[] = [];
  const outcomes = { all: 0, none: 0, part: 0 };
  while (outcomes.part < 3) {
    const entries = Array.from({ length: 200 }, (_, index) => ({
      key: `k.${imported.length + index}`,
      value,
      operation: "put" as const,
      contentType: "",
    }));
    const { revision } = await store.getBucket(bucket, scope());
    const importing = store.importEntries(bucket, revision, entries, scope()).catch((error: unknown) => {
      expect(error).toMatchObject({ kind: "revision_mismatch" });
      return { imported: 0, revision };
    });
    // Sent when the call has begun to be; where they come in between varies.
    for (let turns = outcomes.none % 4; turns >= 0; turns--) await setImmediate();
    await Promise.all(Array.from({ length: 20 }, () => foreign.put("foreign", "v")));
    const result = await importing;
    outcomes[result.imported === 0 ? "none" : result.imported === entries.length ? "all" : "part"]++;
    expect(result.revision).toBe(revision + BigInt(result.imported));
    for (let index = 1n; index <= BigInt(result.imported); index++) imported.push(revision + index);
  }
  for (const [index, revision] of imported.entries()) {
    const entry = await store.get(bucket, `k.${index}`, 0n, scope());
    expect(entry.revision).toBe(revision);
  }
  expect((await store.getBucket(bucket, scope())).values).toBe(imported.length + 1);
});
