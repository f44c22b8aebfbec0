/** A server of a cluster that is killed, rebuilds what it holds from its files, and then leads a bucket whose tombstones were compacted. */
import { setTimeout as delay } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { streamName } from "../../src/kv/names.js";
import { IS_EXTENDED } from "../support/extended.js";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import { succeeds, until } from "../support/until.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { untilAvailable } from "./until-available.js";

const KEYS = 40;
const TIMEOUT_MS = 240_000;

let cluster: TestCluster;
let open: OpenStore;
beforeAll(async () => {
  cluster = await startNatsCluster();
  // Connected to this one for good: the service sees no restart of another one.
  open = await openStore([cluster.servers[0]?.url ?? ""], { isClustered: true, replicas: 3 });
});
afterAll(async () => {
  await open.close();
  await cluster.remove();
});

it.each(IS_EXTENDED ? [1, 5] : [1])(
  "serves no value of a deleted key, with a history of %i, though the service is connected to another server",
  { timeout: TIMEOUT_MS },
  async (history) => {
    const { store } = open;
    const bucket = newBucketName();
    const stream = streamName(bucket);
    await untilAvailable(() => store.createBucket({ name: bucket, history }, scope()));
    const manager = await jetstreamManager(open.connection, { timeout: 1_000, checkAPI: false });
    const isWhole = async (): Promise<boolean> => {
      const { cluster: group } = await manager.streams.info(stream);
      const replicas = group?.replicas ?? [];
      return group?.leader !== undefined && replicas.length === 2 && replicas.every(({ current }) => current);
    };
    const untilWhole = (): Promise<void> =>
      until("all copies are current", () => isWhole().catch(() => false), { timeoutMs: TIMEOUT_MS });
    for (const [round, server] of cluster.servers.slice(1).entries()) {
      const keys = Array.from({ length: KEYS }, (_, n) => `r${round}.${n}`);
      for (const value of ["1", "2"])
        for (const key of keys) await untilAvailable(() => store.put(bucket, key, bytes(value), {}, scope()));
      for (const key of keys.slice(1)) await untilAvailable(() => store.delete(bucket, key, {}, scope()));
      await untilAvailable(() => store.compactBucket(bucket, scope()));
      await untilWhole();
      await server.stop("SIGKILL");
      await server.start();
      await untilWhole();
      const name = `n${cluster.servers.indexOf(server)}`;
      const leads = async (): Promise<boolean> =>
        (await manager.streams.info(stream)).cluster?.leader === name;
      await until(`${name} leads`, async () => {
        if (await leads().catch(() => false)) return true;
        const request = JSON.stringify({ placement: { preferred: name } });
        await succeeds(
          open.connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, request, { timeout: 1_000 }),
        );
        await delay(200);
        return false;
      });
      const back: string[] = [];
      for (const key of keys.slice(1)) {
        const found = await untilAvailable(() => store.get(bucket, key, 0n, scope())).catch(() => undefined);
        if (found !== undefined) back.push(key);
      }
      expect({ server: name, back }).toEqual({ server: name, back: [] });
      const { state } = await manager.streams.info(stream);
      expect(state.messages).toBe((round + 1) * Math.min(2, history));
    }
  },
);
