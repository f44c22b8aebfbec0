/**
 * Rolling restarts under load: two copies of the built service on one nats-server behind a balancer, stopped by SIGTERM and started
 * again in turn. No call may fail, and a watch must miss nothing. EXTENDED=1 makes 50 restarts of the 2.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bucket, createClient } from "@ironflow-kv/client";
import { Balancer } from "../support/balancer.js";
import { Load, loadClients } from "../support/load.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { spawn } from "../support/started.js";
import { IS_EXTENDED } from "../support/extended.js";

const ROOT = join(import.meta.dirname, "../..");
const RESTARTS = IS_EXTENDED ? 50 : 2;
/** Long enough for the balancer to see it, and for each kept connection of HTTP/1.1 to hear of it by an answer. */
const SHUTDOWN_DELAY_MS = 2_000;
const LOOPS_PER_CLIENT = 4;
/** So many calls, at least, go on between two restarts. */
const CALLS_BETWEEN = 200;

interface Copy {
  readonly child: ChildProcess;
  readonly port: number;
}

let nats: TestNatsServer;
let balancer: Balancer;
/** In the order of their start. */
const copies: Copy[] = [];
const running = new Set<ChildProcess>();
beforeAll(async () => {
  nats = await startNatsServer();
  balancer = await Balancer.start();
  for (const copy of await Promise.all([startCopy(), startCopy()])) await addCopy(copy);
}, 120_000);
afterAll(async () => {
  balancer.stop();
  for (const child of running) child.kill("SIGKILL");
  await nats.remove();
});

async function startCopy(): Promise<Copy> {
  const child = spawn(
    process.execPath,
    [
      "dist/src/main.js",
      "serve",
      "--port",
      "0",
      "--nats-url",
      nats.url,
      "--shutdown-delay-ms",
      String(SHUTDOWN_DELAY_MS),
    ],
    {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  running.add(child);
  child.once("exit", () => running.delete(child));
  let said = "";
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const found = /"url":"[^"]+:(\d+)"/.exec(said)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.once("exit", () => reject(new Error(`it ended: ${said}`)));
  });
  return { child, port };
}

async function addCopy(copy: Copy): Promise<void> {
  copies.push(copy);
  await balancer.add(copy.port);
}

/** Stops the older copy while another one starts, and waits until both is done. */
async function restartOne(): Promise<void> {
  const oldest = copies.shift();
  if (oldest === undefined) throw new Error("there is no copy");
  const exited = once(oldest.child, "exit") as Promise<[number | null]>;
  oldest.child.kill("SIGTERM");
  const [newest, [code]] = await Promise.all([startCopy(), exited]);
  expect(code).toBe(0);
  balancer.remove(oldest.port);
  await addCopy(newest);
}

/** All revisions that a watch has seen, by an SDK that goes on where it was when a copy stops. */
class Follower {
  readonly seen: bigint[] = [];
  private readonly controller = new AbortController();
  private readonly ended: Promise<void>;

  constructor(bucket: Bucket) {
    this.ended = this.follow(bucket);
  }

  async stop(): Promise<void> {
    this.controller.abort();
    await this.ended;
  }

  private async follow(bucket: Bucket): Promise<void> {
    for await (const { revision } of bucket.watch([], { startRevision: 1n, signal: this.controller.signal }))
      this.seen.push(revision);
  }
}

describe("rolling restarts under load", () => {
  it(
    `fail no call in ${RESTARTS} restarts, and a watch misses nothing`,
    async () => {
      const kv = createClient({ serverUrl: balancer.url }).kv();
      await kv.createBucket({ name: "load", history: 64 });
      const follower = new Follower(kv.bucket("load"));
      const load = new Load(loadClients(balancer.url, "load"), LOOPS_PER_CLIENT);
      const startedMs = performance.now();
      try {
        for (let round = 1; round <= RESTARTS; round++) {
          const before = load.calls;
          await restartOne();
          await expect.poll(() => load.calls).toBeGreaterThan(before + CALLS_BETWEEN);
        }
      } finally {
        await load.stop();
      }
      const newest = (await kv.getBucketInfo("load")).revision;
      await expect.poll(() => follower.seen.at(-1)).toBe(newest);
      await follower.stop();
      const seconds = Math.round((performance.now() - startedMs) / 1_000);
      const summary = `${RESTARTS} restarts, ${load.calls} calls in ${seconds} s, ${load.failures.length} failed`;
      if (IS_EXTENDED) console.log(summary, load.counts);
      expect(load.failures).toEqual([]);
      expect(follower.seen).toEqual(Array.from({ length: Number(newest) }, (_, index) => BigInt(index + 1)));
      for (const { name, calls } of load.counts) expect(calls, name).toBeGreaterThan(0);
    },
    RESTARTS * 120_000,
  );
});
