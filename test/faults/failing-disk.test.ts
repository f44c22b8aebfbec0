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
import { until } from "../support/until.js";
import { needsServer } from "../support/nats-program.js";
import { diskProblem, mountDisk, type PowerCutDisk } from "./power-cut/disk.js";
import { report } from "./report.js";
import { reasonOf, type Service, serviceAt } from "./workload.js";

const problem = await diskProblem();
if (problem !== undefined)
  console.log(`Skipped: tests of a failing disk mount one of their own: ${problem}.`);

const WRITERS = 8;
const KEYS_PER_WRITER = 4;
const CALL_TIMEOUT_MS = 3_000;

let dataDir: string;
let disk: PowerCutDisk;
let service: Deployment;
let keys: Service;
/** Those of the test that runs: they end with it, also where it fails. */
let writers: Writers | undefined;

/** Writers that overwrite keys, each its own. */
class Writers {
  /** The newest value of each key, if it was acknowledged. */
  readonly acknowledged = new Map<string, string>();
  /** Why writes failed. */
  readonly reasons = new Set<string>();
  private isOver = false;
  private readonly ended: Promise<unknown>;

  constructor() {
    this.ended = Promise.all(Array.from({ length: WRITERS }, (_, writer) => this.run(writer)));
  }

  /** Resolves when every key has an acknowledged value. */
  untilAcknowledged(): Promise<void> {
    return until("all keys are acknowledged", () => this.acknowledged.size === WRITERS * KEYS_PER_WRITER);
  }

  async end(): Promise<void> {
    this.isOver = true;
    await this.ended;
  }

  private async run(writer: number): Promise<void> {
    for (let count = 0; !this.isOver; count++) {
      const key = `k${writer}-${count % KEYS_PER_WRITER}`;
      const value = `${writer} ${count}`;
      try {
        await keys.put({ bucket: "b", key, value: Buffer.from(value) }, { timeoutMs: CALL_TIMEOUT_MS });
        this.acknowledged.set(key, value);
      } catch (error) {
        // It may have been applied: the key's value is unknown until the next acknowledged write.
        this.acknowledged.delete(key);
        this.reasons.add(reasonOf(error) ?? "no reason");
        await delay(20);
      }
    }
  }
}

async function readiness(): Promise<string> {
  const answer = await fetch(`${service.url}/readyz`);
  return `${answer.status} ${(await answer.text()).trim()}`;
}

function untilReadiness(expected: string): Promise<void> {
  return until(`/readyz says ${expected}`, async () => (await readiness()) === expected);
}

/** What the key has; asks again where the service can't answer yet. */
async function read(key: string): Promise<string> {
  let found = "";
  await until(`the service reads ${key}`, async () => {
    try {
      const { entry } = await keys.get({ bucket: "b", key });
      found = Buffer.from(entry?.value ?? []).toString();
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === "unavailable") return false;
      found = reason ?? String(error);
    }
    return true;
  });
  return found;
}

/** A line for each key that has not the value that was acknowledged. */
async function lossesOf(acknowledged: ReadonlyMap<string, string>): Promise<string[]> {
  const losses: string[] = [];
  for (const [key, value] of acknowledged) {
    const found = await read(key);
    if (found !== value) losses.push(`${key}: ${value} was acknowledged, ${found} is there`);
  }
  return losses;
}

describe.skipIf(problem !== undefined || needsServer("2.15.1").skip)("a disk that fails", () => {
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "ironflow-failing-"));
    disk = await mountDisk(join(dataDir, "jetstream"));
    service = await deploy({ DATA_DIR: dataDir });
    keys = serviceAt(service.url);
    const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: service.url }));
    await buckets.createBucket({ name: "b" });
  });
  afterEach(async () => {
    await writers?.end();
    writers = undefined;
    await service.remove();
    await disk.unmount();
    await rm(dataDir, { recursive: true });
  });

  it.each(["syncs", "writes"] as const)(
    "%s: nothing that it failed is acknowledged, /readyz says so, and writes go on when it answers; a power cut then takes nothing",
    async (what) => {
      writers = new Writers();
      await writers.untilAcknowledged();
      await (what === "syncs" ? disk.failSyncs("EIO") : disk.failWrites("EIO"));
      await untilReadiness("503 storage failed: waiting for its disk");
      const refusal = await keys.put({ bucket: "b", key: "x", value: Buffer.from("x") }).catch(reasonOf);
      await disk.heal();
      const healedMs = performance.now();
      await untilReadiness("200 ready");
      await keys.put({ bucket: "b", key: "x", value: Buffer.from("x") });
      const backMs = performance.now() - healedMs;
      await writers.untilAcknowledged();
      await writers.end();
      const { acknowledged, reasons } = writers;
      const server = natsServerOf(service.pid) ?? 0;
      kill(server, "SIGSTOP");
      kill(service.pid, "SIGSTOP");
      await disk.cut();
      await service.kill();
      kill(server, "SIGKILL");
      service.start();
      await service.ready();
      const losses = await lossesOf(acknowledged);
      report(
        `${what} fail with EIO, then a power cut`,
        undefined,
        `${acknowledged.size} keys, lost ${losses.length}`,
        `${[...reasons].sort().join(", ")}; writes ${backMs.toFixed(0)} ms after the disk answered`,
      );
      expect({ refusal, losses }).toEqual({ refusal: "unavailable", losses: [] });
    },
    120_000,
  );
});
