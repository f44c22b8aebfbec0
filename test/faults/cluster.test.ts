/** Three nats-servers, three copies of everything, three copies of the service: nodes die, stop, or lose sight of the others. */
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BucketService } from "@ironflow-kv/client/gen";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import { type Deployment, deploy } from "./deployment.js";
import { IS_FULL, IS_LONG, NOTHING_WRONG, percentiles, report, SEED, times } from "./report.js";
import { HISTORIES, randomFrom, reasonOf, Workload } from "./workload.js";

let cluster: TestCluster;
let services: Deployment[];
let connection: NatsConnection;

beforeAll(async () => {
  cluster = await startNatsCluster(3);
  const servers = cluster.servers.map(({ url }) => url);
  connection = await connect({ servers, maxReconnectAttempts: -1 });
  services = await Promise.all(servers.map(() => deploy({ NATS_URL: servers.join(","), REPLICAS: "3" })));
  const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: services[0]?.url ?? "" }));
  for (const history of HISTORIES) {
    const created = (): Promise<string | undefined> =>
      buckets.createBucket({ name: nameOf(history), history }).then(() => "made", reasonOf);
    // A cluster that has just come up may not know all its nodes.
    for (
      let reason = await created();
      reason !== "made" && reason !== "bucket_exists";
      reason = await created()
    ) {
      expect(reason).toBe("unavailable");
      await delay(100);
    }
  }
}, 120_000);

afterAll(async () => {
  cluster.heal();
  await Promise.all(services.map((service) => service.remove()));
  await connection.close();
  await cluster.remove();
}, 120_000);

const nameOf = (history: number): string => `faults-${history}`;

/** The bucket that the running test writes to. */
let bucket = "";

/** The number of the node that leads the bucket; undefined while none does. */
async function leader(): Promise<number | undefined> {
  try {
    const manager = await jetstreamManager(connection, { timeout: 1_000, checkAPI: false });
    const info = await manager.streams.info(`KV_APP_${bucket}`);
    const name = info.cluster?.leader;
    return name === undefined ? undefined : Number(name.slice(1));
  } catch {
    return undefined;
  }
}

async function anyLeader(): Promise<number> {
  for (;;) {
    const node = await leader();
    if (node !== undefined) return node;
    await delay(100);
  }
}

/** Resolves when every node answers and has what the leader has. */
async function whole(): Promise<void> {
  for (;;) {
    try {
      const manager = await jetstreamManager(connection, { timeout: 1_000, checkAPI: false });
      const { cluster: state } = await manager.streams.info(`KV_APP_${bucket}`);
      const replicas = state?.replicas ?? [];
      if (state?.leader !== undefined && replicas.length === 2 && replicas.every(({ current }) => current))
        return;
    } catch {
      // No leader yet.
    }
    await delay(200);
  }
}

/** Each strikes, lets it last, and undoes it. */
const strikes: Record<string, (lastMs: number) => Promise<void>> = {
  async "leader killed"(lastMs) {
    const server = cluster.servers[await anyLeader()];
    await server?.stop("SIGKILL");
    await delay(lastMs);
    await server?.start();
  },
  async "follower paused"(lastMs) {
    const server = cluster.servers[((await anyLeader()) + 1) % 3];
    if (server === undefined) return;
    process.kill(server.pid, "SIGSTOP");
    await delay(lastMs);
    process.kill(server.pid, "SIGCONT");
  },
  async "leader cut off"(lastMs) {
    cluster.cutOff(await anyLeader());
    await delay(lastMs);
    cluster.heal();
  },
  async "follower cut off"(lastMs) {
    cluster.cutOff(((await anyLeader()) + 1) % 3);
    await delay(lastMs);
    cluster.heal();
  },
};

it.each(IS_FULL ? HISTORIES : [1])(
  "loses nothing and answers nothing stale through elections, pauses and partitions, with a history of %i",
  async (history) => {
    bucket = nameOf(history);
    const urls = services.map(({ url }) => url);
    const workload = new Workload({ urls, bucket, history, seed: SEED });
    const random = randomFrom(SEED + 3);
    const pausesMs: number[] = [];
    /** Where the leader was killed or cut off: another one has to be elected before a write goes through. */
    const electionsMs: number[] = [];
    const names = Object.keys(strikes);
    const rounds = times({ full: 32, medium: 2 * names.length, short: names.length });
    for (let round = 0; round < rounds; round++) {
      await whole();
      await workload.untilWritten();
      const name = names[round % names.length] ?? "";
      const leastMs = times({ full: 1_000, medium: 1_000, short: 500 });
      const strike = strikes[name]?.(leastMs + random(times({ full: 5_000, medium: 3_000, short: 500 })));
      // The pause that a client sees: from the strike to the first write that was sent after it and acknowledged.
      const pauseMs = await workload.untilWritten();
      pausesMs.push(pauseMs);
      if (name.startsWith("leader")) electionsMs.push(pauseMs);
      await strike;
      pausesMs.push(await workload.untilWritten());
    }
    await whole();
    const findings = await workload.finish();
    report(
      `cluster of three, ${rounds} faults, history ${history}`,
      findings,
      `without writes: ${percentiles(pausesMs)}; after the leader was lost: ${percentiles(electionsMs)}`,
    );
    expect(findings).toMatchObject(NOTHING_WRONG);
    expect(findings.acknowledged).toBeGreaterThan(rounds);
  },
  IS_LONG ? 1_800_000 : 180_000,
);
