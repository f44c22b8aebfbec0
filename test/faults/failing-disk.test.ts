/** A disk that fails: writes and syncs that end with an error, as a broken disk has them. Nothing that it failed is acknowledged. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kill } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BucketService } from "@ironflow-kv/client/gen";
import { type Deployment, deploy, natsServerOf } from "./deployment.js";
import { needsServer } from "../support/nats-program.js";
import { diskProblem, mountDisk, type PowerCutDisk } from "./power-cut/disk.js";
import { report } from "./report.js";
import { reasonOf, type Service, serviceAt } from "./workload.js";

const problem = await diskProblem();
if (problem !== undefined)
  console.log(`Skipped: tests of a failing disk mount one of their own: ${problem}.`);

const WRITERS = 8;
const CALL_TIMEOUT_MS = 3_000;

let dataDir: string;
let disk: PowerCutDisk;
let service: Deployment;
let keys: Service;

/** The newest value of each key that was acknowledged. */
type Acknowledged = Map<string, string>;

/** Overwrites keys until `isOver`, each writer its own; gives what was acknowledged, and why writes failed. */
async function write(isOver: () => boolean): Promise<{ acknowledged: Acknowledged; reasons: Set<string> }> {
  const acknowledged: Acknowledged = new Map();
  const reasons = new Set<string>();
  const run = async (writer: number): Promise<void> => {
    for (let count = 0; !isOver(); count++) {
      const key = `k${writer}-${count % 4}`;
      const value = `${writer} ${count}`;
      try {
        await keys.put({ bucket: "b", key, value: Buffer.from(value) }, { timeoutMs: CALL_TIMEOUT_MS });
        acknowledged.set(key, value);
      } catch (error) {
        // The write may have been applied: another one settles what the key has.
        acknowledged.delete(key);
        reasons.add(reasonOf(error) ?? "no reason");
        await delay(20);
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => run(writer)));
  return { acknowledged, reasons };
}

async function readiness(): Promise<string> {
  const answer = await fetch(`${service.url}/readyz`);
  return `${answer.status} ${(await answer.text()).trim()}`;
}

async function untilReadiness(expected: string): Promise<void> {
  while ((await readiness()) !== expected) await delay(20);
}

async function countLost(acknowledged: Acknowledged): Promise<number> {
  let lost = 0;
  for (const [key, value] of acknowledged) {
    const { entry } = await keys.get({ bucket: "b", key }).catch(() => ({ entry: undefined }));
    if (Buffer.from(entry?.value ?? []).toString() !== value) lost++;
  }
  return lost;
}

describe.skipIf(problem !== undefined || needsServer("2.15.1").skip)("a disk that fails", () => {
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "ironflow-failing-"));
    disk = await mountDisk(join(dataDir, "jetstream"));
    service = await deploy({ DATA_DIR: dataDir });
    keys = serviceAt(service.url);
    const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: service.url }));
    await buckets.createBucket({ name: "b" });
  }, 60_000);
  afterEach(async () => {
    await service.remove();
    await disk.unmount();
    await rm(dataDir, { recursive: true });
  }, 60_000);

  it.each(["syncs", "writes"] as const)(
    "%s: nothing that it failed is acknowledged, /readyz says so, and writes go on when it answers; a power cut then takes nothing",
    async (what) => {
      let isOver = false;
      const writing = write(() => isOver);
      await delay(200);
      await (what === "syncs" ? disk.failSyncs("EIO") : disk.failWrites("EIO"));
      await untilReadiness("503 storage failed: waiting for its disk");
      const refusal = await keys.put({ bucket: "b", key: "x", value: Buffer.from("x") }).catch(reasonOf);
      await disk.heal();
      const healedMs = performance.now();
      await untilReadiness("200 ready");
      await keys.put({ bucket: "b", key: "x", value: Buffer.from("x") });
      const backMs = performance.now() - healedMs;
      isOver = true;
      const { acknowledged, reasons } = await writing;
      const server = natsServerOf(service.pid) ?? 0;
      kill(server, "SIGSTOP");
      kill(service.pid, "SIGSTOP");
      await disk.cut();
      await service.kill();
      kill(server, "SIGKILL");
      service.start();
      await service.ready();
      const lost = await countLost(acknowledged);
      report(
        `${what} fail with EIO, then a power cut`,
        undefined,
        `${acknowledged.size} keys, lost ${lost}`,
        `${[...reasons].sort().join(", ")}; writes ${backMs.toFixed(0)} ms after the disk answered`,
      );
      expect({ refusal, lost }).toEqual({ refusal: "unavailable", lost: 0 });
      expect(acknowledged.size).toBeGreaterThan(0);
    },
    120_000,
  );
});
