/** Mixed load for a long time: what the service holds at rest must not grow. */
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { freePort, startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type Deployment, deploy } from "./deployment.js";
import { IS_LONG, report, SEED, times } from "./report.js";
import { MixedLoad } from "./soak.js";

const ROUNDS = times({ full: 30, medium: 4, short: 3 });
const ROUND_MS = times({ full: 60_000, medium: 10_000, short: 1_000 });
const SETTLE_MS_MAX = 20_000;

/** What a process holds while nobody asks anything of it. */
interface AtRest {
  readonly files: number;
  readonly consumers: number;
  readonly heapMb: number;
}

let nats: TestNatsServer;
let connection: NatsConnection;
let manager: JetStreamManager;
let service: Deployment;
let inspectorPort: number;

beforeAll(async () => {
  if (!IS_LONG) return;
  nats = await startNatsServer();
  connection = await connect({ servers: nats.url });
  manager = await jetstreamManager(connection);
  inspectorPort = await freePort();
  service = await deploy({ NATS_URL: nats.url, NODE_OPTIONS: `--inspect=127.0.0.1:${inspectorPort}` });
});

afterAll(async () => {
  if (!IS_LONG) return;
  await service.remove();
  await connection.close();
  await nats.remove();
});

// Shorter than this, it says nothing that the tests of leftovers do not say.
it.runIf(IS_LONG)(
  `${(ROUNDS * ROUND_MS) / 60_000} minutes of everything leave nothing behind`,
  async () => {
    const load = new MixedLoad(service.url, SEED);
    await load.prepare();
    const rests: AtRest[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await load.run(ROUND_MS);
      rests.push(await rest(rests[0]?.files));
    }
    const line = (of: (at: AtRest) => number): string => rests.map((at) => of(at)).join(" ");
    report(
      `mixed load, ${ROUNDS} rounds of ${ROUND_MS / 1_000} s`,
      undefined,
      `${load.calls} calls, ${load.wrong} wrong`,
      `files open at rest ${line((at) => at.files)}`,
      `consumers ${line((at) => at.consumers)}`,
      `heap in use after a collection, MB ${line((at) => at.heapMb)}`,
    );
    expect(load.wrong).toBe(0);
    for (const { files, consumers } of rests) {
      expect(consumers).toBe(0);
      expect(files).toBeLessThanOrEqual(rests[0]?.files ?? 0);
    }
  },
  IS_LONG ? 2_700_000 : 120_000,
);

/** Waits until connections and watches of the load are gone: until no more files are open than the first time, or for a while. */
async function rest(filesWanted?: number): Promise<AtRest> {
  const untilMs = performance.now() + SETTLE_MS_MAX;
  const isSettled = async (): Promise<boolean> =>
    (filesWanted === undefined ? performance.now() > untilMs - 15_000 : openFiles() <= filesWanted) &&
    (await consumers()) === 0;
  while (!(await isSettled()) && performance.now() < untilMs) await delay(50);
  return { files: openFiles(), consumers: await consumers(), heapMb: await heapMb() };
}

const openFiles = (): number => readdirSync(`/proc/${service.pid}/fd`).length;

/** The service watches its own keys all the time; of the buckets nobody watches at rest. */
async function consumers(): Promise<number> {
  let count = 0;
  for await (const { config, state } of manager.streams.list())
    if (config.name.startsWith("KV_APP_")) count += state.consumer_count;
  return count;
}

/** Collects garbage in the service, through Node's inspector, and gives what is left. */
async function heapMb(): Promise<number> {
  const targets = (await (await fetch(`http://127.0.0.1:${inspectorPort}/json`)).json()) as {
    webSocketDebuggerUrl: string;
  }[];
  const socket = new WebSocket(targets[0]?.webSocketDebuggerUrl ?? "");
  await once(socket, "open");
  const ask = async (id: number, method: string): Promise<{ usedSize: number }> => {
    socket.send(JSON.stringify({ id, method }));
    for (;;) {
      const [data] = (await once(socket, "message")) as [Buffer];
      const answer = JSON.parse(data.toString()) as { id?: number; result: { usedSize: number } };
      if (answer.id === id) return answer.result;
    }
  };
  await ask(1, "HeapProfiler.collectGarbage");
  const { usedSize } = await ask(2, "Runtime.getHeapUsage");
  socket.close();
  await once(socket, "close");
  return Number((usedSize / 1e6).toFixed(1));
}
