/** Imports into a bucket that other programs write to at the same moment. */
import { setImmediate, setTimeout as delay } from "node:timers/promises";
import { Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import type { Store } from "../../src/kv/store.js";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

// It takes as many rounds as it takes until the writes of two connections meet.
vi.setConfig({ testTimeout: 120_000 });

describe.each(["a cluster of three"])("an import into %s", (kind) => {
  const replicas = kind === "one server" ? 1 : 3;
  let cluster: TestCluster | undefined;
  let server: TestNatsServer | undefined;
  let open: OpenStore;
  let other: NatsConnection;
  beforeAll(async () => {
    if (replicas === 1) server = await startNatsServer();
    else cluster = await startNatsCluster(replicas);
    const servers = (cluster?.servers ?? [server]).flatMap((node) => (node === undefined ? [] : [node.url]));
    open = await openStore(servers, { replicas, isClustered: replicas > 1 });
    other = await connect({ servers });
  });
  afterAll(async () => {
    await other.close();
    await open.close();
    await server?.remove();
    await cluster?.remove();
  });

  it("writes a first part of the entries without a gap, and says how many", async () => {
    const { store } = open;
    const bucket = newBucketName();
    await untilCreated(store, bucket);
    const foreign = await new Kvm(other).open(`APP_${bucket}`);
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
      const info = await store.getBucket(bucket, scope()).catch(async (e: unknown) => { const a = await other.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`, "", {timeout: 5000}).catch((x: unknown) => x); console.log(String(e), JSON.stringify((a as any).json?.() ?? String(a))); return undefined; }); if (info === undefined) { await delay(500); continue; } const { revision } = info;
      const importing = store.importEntries(bucket, revision, entries, scope()).catch((error: unknown) => {
        console.log(String(error), (error as KvError).kind);
        return { imported: 0, revision };
      });
      // Sent when the call has begun to be; where they come in between varies.
      for (let turns = outcomes.none % 4; turns >= 0; turns--) await setImmediate();
      await Promise.all(Array.from({ length: 20 }, () => foreign.put("foreign", "v")));
      const result = await importing;
      outcomes[result.imported === 0 ? "none" : result.imported === entries.length ? "all" : "part"]++;
      console.log(outcomes, result.imported); expect(result.revision).toBe(revision + BigInt(result.imported));
      for (let index = 1n; index <= BigInt(result.imported); index++) imported.push(revision + index);
    }
    for (const [index, revision] of imported.entries()) {
      const entry = await store.get(bucket, `k.${index}`, 0n, scope());
      expect(entry.revision).toBe(revision);
    }
    expect((await store.getBucket(bucket, scope())).values).toBe(imported.length + 1);
  });
});

/** A cluster that has just begun has no leader yet. */
async function untilCreated(store: Store, bucket: string): Promise<void> {
  for (;;) {
    try {
      await store.createBucket({ name: bucket }, scope());
      return;
    } catch (error) {
      if (!(error instanceof KvError) || error.kind === "bucket_exists") throw error;
      await delay(100);
    }
  }
}
