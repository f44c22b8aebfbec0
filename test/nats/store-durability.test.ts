/** What an acknowledged write survives: the death of the server, and of a cluster's leader. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jetstreamManager } from "@nats-io/jetstream";
import { freePort, startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, historyOf, scope, text } from "./store-contract.js";
import type { Store } from "../../src/kv/store.js";
import { type OpenStore, openStore } from "./store-support.js";
import { until } from "../support/until.js";

/** Writes new keys for as long as it is let, from several writers at once, and keeps what was acknowledged. */
class Load {
  readonly acknowledged = new Map<string, bigint>();
  readonly kinds = new Set<string>();
  /** A second run of a test finds the keys of the first one in its bucket. */
  private readonly name = randomUUID();
  private isOver = false;
  private readonly writers: Promise<void>[] = [];

  constructor(
    stores: readonly Store[],
    private readonly bucket: string,
    readonly writersPerStore: number,
  ) {
    for (const [index, store] of stores.entries()) {
      for (let id = 0; id < writersPerStore; id++) this.writers.push(this.write(store, `${index}.${id}`));
    }
  }

  untilAcknowledged(more: number): Promise<void> {
    const target = this.acknowledged.size + more;
    return until(`${target} writes are acknowledged`, () => this.acknowledged.size >= target);
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.writers);
  }

  private async write(store: Store, id: string): Promise<void> {
    for (let count = 0; !this.isOver; count++) {
      const key = `${this.name}.${id}.${count}`;
      try {
        this.acknowledged.set(key, await store.put(this.bucket, key, bytes(key), {}, scope()));
      } catch (error) {
        this.kinds.add((error as { kind?: string }).kind ?? String(error));
        await pause(5);
      }
    }
  }
}

const pause = (timeMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, timeMs));

/** Every acknowledged write is there, at its revision, and only once. */
async function expectAll(
  store: Store,
  bucket: string,
  acknowledged: ReadonlyMap<string, bigint>,
): Promise<void> {
  for (const [key, revision] of acknowledged) {
    const entries = await historyOf(store, bucket, key, scope());
    expect(entries.map((entry) => [entry.revision, text(entry.value)])).toEqual([[revision, key]]);
  }
  const { items } = await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
  expect(items).toEqual(expect.arrayContaining([...acknowledged.keys()]));
}

describe("a nats-server that is killed and started again", () => {
  it("has every write that was acknowledged, and none twice", async () => {
    const server = await startNatsServer({ syncAlways: true });
    const open = await openStore(server.url);
    try {
      await open.store.createBucket({ name: "killed", history: 64 }, scope());
      const load = new Load([open.store], "killed", 16);
      for (let round = 0; round < 3; round++) {
        await load.untilAcknowledged(200);
        await server.stop("SIGKILL");
        await server.start();
      }
      await load.untilAcknowledged(50);
      await load.stop();
      for (const kind of load.kinds) expect(["unavailable", "outcome_unknown"]).toContain(kind);
      await expectAll(open.store, "killed", load.acknowledged);
    } finally {
      await open.close();
      await server.remove();
    }
  });
});

describe("a cluster of three", () => {
  let servers: TestNatsServer[] = [];
  let stores: OpenStore[] = [];

  beforeAll(async () => {
    const routePorts = await Promise.all([freePort(), freePort(), freePort()]);
    const routes = routePorts.map((port) => `"nats://127.0.0.1:${port}"`).join(", ");
    servers = await Promise.all(
      routePorts.map((port, index) =>
        startNatsServer({
          config: `server_name: n${index}\ncluster { name: c, listen: "127.0.0.1:${port}", routes: [${routes}] }`,
        }),
      ),
    );
    const urls = servers.map((server) => server.url);
    stores = [];
    // Each copy of the service begins at another server.
    for (const index of urls.keys()) {
      const order = [...urls.slice(index), ...urls.slice(0, index)];
      stores.push(await openStore(order, { isClustered: true, replicas: 3 }));
    }
    for (;;) {
      try {
        await stores[0]?.store.createBucket({ name: "shared", history: 64 }, scope(2_000));
        return;
      } catch (error) {
        // It has no leader yet, or fewer servers than copies.
        if ((error as { kind?: string }).kind === "bucket_exists") return;
        await pause(100);
      }
    }
  });

  afterAll(async () => {
    for (const open of stores) await open.close();
    for (const server of servers) await server.remove();
  });

  it("shows every acknowledged write to reads through any copy of the service", async () => {
    const [writer, ...readers] = stores.map((open) => open.store);
    if (writer === undefined) throw new Error("no store");
    for (let count = 0; count < 100; count++) {
      const revision = await writer.put("shared", "seen", bytes(`${count}`), {}, scope());
      await writer.put("shared", `one.${count}`, bytes(""), {}, scope());
      const seen = await Promise.all(readers.map((store) => store.get("shared", "seen", 0n, scope())));
      for (const entry of seen) expect(entry.revision).toBe(revision);
      if (count % 10 > 0) continue;
      for (const store of readers) {
        const page = { limit: 0, pageToken: "" };
        expect((await store.listKeys("shared", ["one.*"], page, scope())).items).toHaveLength(count + 1);
        expect((await historyOf(store, "shared", "seen", scope())).at(-1)?.revision).toBe(revision);
        expect((await store.getBucket("shared", scope())).values).toBe(count + 2);
      }
    }
  });

  it("takes the entries of a backup as they stood, and none where somebody else has written since", async () => {
    const [store, other] = stores.map((open) => open.store);
    if (store === undefined || other === undefined) throw new Error("no store");
    const bucket = `restored-${randomUUID()}`;
    await store.createBucket({ name: bucket, history: 5 }, scope());
    const operations = ["put", "put", "delete", "put", "purge"] as const;
    const entries = Array.from({ length: 100 }, (_, index) => {
      const operation = operations[index % 5] ?? "put";
      const value = bytes(operation === "put" ? String(index) : "");
      return { key: `k${index % 7}`, value, operation, contentType: "" };
    });
    const { imported, revision } = await store.importEntries(bucket, 0n, entries, scope());
    expect({ imported, revision }).toEqual({ imported: 100, revision: 100n });
    for (const key of new Set(entries.map((entry) => entry.key))) {
      const last = entries.findLastIndex((entry) => entry.key === key);
      const history = await historyOf(other, bucket, key, scope());
      expect(history.at(-1)).toMatchObject({
        revision: BigInt(last + 1),
        operation: entries[last]?.operation,
      });
    }
    await other.put(bucket, "foreign", bytes("1"), {}, scope());
    const late = store.importEntries(bucket, revision, entries, scope());
    await expect(late).rejects.toMatchObject({ kind: "revision_mismatch" });
    expect((await other.getBucket(bucket, scope())).revision).toBe(101n);
  });

  it("loses no acknowledged write with its leader, and writes none twice", async () => {
    const load = new Load(
      stores.map((open) => open.store),
      "shared",
      4,
    );
    await load.untilAcknowledged(200);
    const connection = stores[0]?.connection;
    if (connection === undefined) throw new Error("no connection");
    const { cluster } = await (await jetstreamManager(connection)).streams.info("KV_APP_shared");
    const leader = servers[Number(cluster?.leader?.slice(1))];
    if (leader === undefined) throw new Error("no leader");
    await leader.stop("SIGKILL");
    await load.untilAcknowledged(200);
    await leader.start();
    await load.untilAcknowledged(100);
    await load.stop();
    for (const kind of load.kinds) expect(["unavailable", "outcome_unknown"]).toContain(kind);
    const store = stores[1]?.store;
    if (store === undefined) throw new Error("no store");
    await expectAll(store, "shared", load.acknowledged);
  });
});
