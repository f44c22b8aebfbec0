/** Several processes on one port and one embedded nats-server. Runs the built service. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONTRACT_DOORS } from "../api/doors.js";
import { bytes, clientsOf, line } from "../api/support.js";
import { scrape } from "../support/metrics.js";
import { freePort } from "../support/nats-server.js";
import { spawn } from "../support/started.js";

const ROOT = join(import.meta.dirname, "../..");
const [grpc] = CONTRACT_DOORS;
if (grpc === undefined) throw new Error("no doors");

let dataDir: string;
let url: string;
let metricsUrl: string;
let first: ChildProcess;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "ironflow-workers-"));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const metricsPort = await freePort();
  metricsUrl = `http://127.0.0.1:${metricsPort}`;
  const ports = ["--port", String(port), "--metrics-port", String(metricsPort)];
  const args = ["dist/src/main.js", "serve", "--workers", "2", ...ports, "--data-dir", dataDir];
  first = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  await untilSaid(first, "all workers are ready");
});
afterAll(async () => {
  if (first.exitCode === null && first.signalCode === null) {
    first.kill("SIGKILL");
    await once(first, "exit");
  }
  await rm(dataDir, { recursive: true, force: true });
});

async function untilSaid(child: ChildProcess, words: string): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes(words)) resolve();
    });
    child.once("exit", () => reject(new Error(`it ended: ${said}`)));
  });
}

function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return new RegExp(`^PPid:\\s+${parent}$`, "m").test(readFileSync(`/proc/${pid}/status`, "utf8"));
      } catch {
        return false;
      }
    })
    .map(Number);
}

const workers = (): number[] =>
  childrenOf(first.pid ?? -1).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("main.js"),
  );

describe.runIf(process.platform === "linux")("two workers", () => {
  it("share one port, and a watch through one sees writes through the other", async () => {
    expect(workers()).toHaveLength(2);
    const setUp = clientsOf(grpc, url);
    await setUp.buckets.createBucket({ name: "shared", history: 64 });
    // Each client has a connection of its own; the first process hands them out in turn.
    const clients = Array.from({ length: 4 }, () => clientsOf(grpc, url));
    const watches = clients.map(({ kv }) => kv.watch({ bucket: "shared" })[Symbol.asyncIterator]());
    for (const watch of watches) expect(line((await watch.next()).value as never)).toBe("end @0");
    for (const [index, { kv }] of clients.entries())
      await kv.put({ bucket: "shared", key: `k${index}`, value: bytes("v") });
    for (const watch of watches) {
      const lines: string[] = [];
      while (lines.length < 4) lines.push(line((await watch.next()).value as never));
      expect(lines).toEqual(["put k0=v @1", "put k1=v @2", "put k2=v @3", "put k3=v @4"]);
      await watch.return?.();
    }
  });

  it("each show the combined metrics, on both ports", async () => {
    const labels = { method: "ironflow.kv.v1.KeyValueService/Put", code: "ok" };
    for (let round = 0; round < 4; round++) {
      // Each on a connection of its own, so that another worker answers.
      for (const place of [url, metricsUrl]) {
        const seen = async (): Promise<unknown> => {
          const { value } = await scrape(place);
          return ["calls_total", "store_entries", "nats_connected"].map((name) =>
            value(`ironflow_${name}`, name === "calls_total" ? labels : {}),
          );
        };
        await expect.poll(seen).toEqual([4, 4, 1]);
      }
    }
  });

  it("are replaced when they die", async () => {
    const [victim = -1] = workers();
    process.kill(victim, "SIGKILL");
    await expect.poll(() => workers().filter((pid) => pid !== victim).length, { interval: 50 }).toBe(2);
    await expect
      .poll(
        () =>
          fetch(`${url}/readyz`).then(
            (answer) => answer.status,
            () => 0,
          ),
        { interval: 50 },
      )
      .toBe(200);
  });

  it("stop together, and leave nothing running", async () => {
    const family = childrenOf(first.pid ?? -1);
    expect(family.length).toBeGreaterThanOrEqual(3);
    first.kill("SIGTERM");
    const [code] = (await once(first, "exit")) as [number | null];
    expect(code).toBe(0);
    const left = readdirSync("/proc").map(Number);
    expect(family.filter((pid) => left.includes(pid))).toEqual([]);
  });
});
