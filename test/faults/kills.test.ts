/** Processes killed at random under load: what was acknowledged is there afterwards, and every answer was right. */
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BucketService } from "@ironflow-kv/client/gen";
import { type Deployment, deploy, isAlive, natsServerOf } from "./deployment.js";
import { IS_FULL, IS_LONG, NOTHING_WRONG, percentiles, report, SEED, times } from "./report.js";
import { HISTORIES, randomFrom, Workload } from "./workload.js";

let service: Deployment;

beforeEach(async () => {
  service = await deploy();
});

afterEach(async () => {
  await service.remove();
});

/** What a process may take to end when the service that started it was killed. */
const GONE_MS_MAX = 5_000;
const TIMEOUT_MS = IS_LONG ? 1_200_000 : 120_000;

function killNats(): Promise<readonly number[]> {
  const pid = natsServerOf(service.pid);
  if (pid !== undefined) process.kill(pid, "SIGKILL");
  // The service goes on and starts another.
  return Promise.resolve([]);
}

async function restart(): Promise<readonly number[]> {
  const pids = await service.kill();
  service.start();
  return pids;
}

/** Processes of a killed service that do not go. */
async function leftOver(pids: readonly number[]): Promise<number> {
  const untilMs = performance.now() + GONE_MS_MAX;
  while (pids.some(isAlive) && performance.now() < untilMs) await delay(20);
  return pids.filter(isAlive).length;
}

describe.each(IS_FULL ? HISTORIES : [1])("with a history of %i", (history) => {
  beforeEach(async () => {
    const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: service.url }));
    await buckets.createBucket({ name: "faults", history });
  });

  it.each<[string, number, () => Promise<readonly number[]>]>([
    ["nats-server killed", times({ full: 50, medium: 8, short: 1 }), killNats],
    ["service killed", times({ full: 50, medium: 8, short: 1 }), restart],
    [
      "both killed at once",
      times({ full: 20, medium: 4, short: 1 }),
      async () => {
        await killNats();
        return restart();
      },
    ],
  ])(
    "%s %i times",
    async (name, count, strike) => {
      const workload = new Workload({ urls: [service.url], bucket: "faults", history, seed: SEED });
      const random = randomFrom(SEED + 7);
      const pausesMs: number[] = [];
      let left = 0;
      await workload.untilWritten();
      for (let round = 0; round < count; round++) {
        await delay(100 + random(400));
        const pids = await strike();
        pausesMs.push(await workload.untilWritten());
        left += await leftOver(pids);
      }
      const findings = await workload.finish();
      report(
        `${name} ${count} times, history ${history}`,
        findings,
        `left over ${left}`,
        `until writes work: ${percentiles(pausesMs)}`,
      );
      expect({ ...findings, left }).toMatchObject({ ...NOTHING_WRONG, left: 0 });
      expect(findings.acknowledged).toBeGreaterThan(count);
    },
    TIMEOUT_MS,
  );
});
