/** The built service as processes of their own, to be killed. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/nats-server.js";
import { spawn } from "../support/started.js";

const PROGRAM = join(import.meta.dirname, "../../dist/src/main.js");

export interface Deployment {
  readonly url: string;
  readonly pid: number;
  /** Resolves when the service answers that it is ready. */
  ready(): Promise<void>;
  start(): void;
  /** Ends it at once and waits until it is gone. Gives the ids of the processes that it had. */
  kill(): Promise<readonly number[]>;
  remove(): Promise<void>;
}

/** Starts the service on a port of its own; its data directory stays the same over restarts. */
export async function deploy(environment: Record<string, string> = {}): Promise<Deployment> {
  const dataDir = await mkdtemp(join(tmpdir(), "ironflow-faults-"));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess;
  let said = "";
  const deployment = {
    url,
    get pid() {
      return child.pid ?? 0;
    },
    start() {
      child = spawn(process.execPath, [PROGRAM, "serve"], {
        env: {
          PATH: process.env.PATH,
          DATA_DIR: dataDir,
          PORT: String(port),
          LOG_LEVEL: "warn",
          ...(process.env.NATS_SERVER_BIN === undefined
            ? {}
            : { NATS_SERVER_BIN: process.env.NATS_SERVER_BIN }),
          ...environment,
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const keep = (text: Buffer): void => {
        said = (said + text.toString()).slice(-4_000);
      };
      child.stdout?.on("data", keep);
      child.stderr?.on("data", keep);
    },
    async ready() {
      for (;;) {
        if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}: ${said}`);
        const answer = await fetch(`${url}/readyz`).catch(() => undefined);
        await answer?.text();
        if (answer?.status === 200) return;
        await delay(20);
      }
    },
    async kill() {
      const pids = [deployment.pid, ...descendantsOf(deployment.pid)];
      if (child.exitCode !== null || child.signalCode !== null) return pids;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
      return pids;
    },
    async remove() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, "exit");
        child.kill("SIGTERM");
        await exited;
      }
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  deployment.start();
  await deployment.ready();
  return deployment;
}

/** The id of the nats-server that a service runs; undefined while there is none. */
export function natsServerOf(pid: number): number | undefined {
  return descendantsOf(pid).find((one) => statOf(one)?.name === "nats-server");
}

/** Whether a process is there, and not just a name that its parent did not look at yet. */
export function isAlive(pid: number): boolean {
  const state = stateOf(pid);
  return state !== undefined && state !== "Z" && state !== "X";
}

/** The state of a process as proc(5) has it, such as T for stopped; undefined where there is none. */
export function stateOf(pid: number): string | undefined {
  return statOf(pid)?.state;
}

export function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const one = Number(name);
    const parent = Number.isInteger(one) ? statOf(one)?.parent : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), one]);
  }
  const found: number[] = [];
  const look = (parent: number): void => {
    for (const child of children.get(parent) ?? []) {
      found.push(child);
      look(child);
    }
  };
  look(pid);
  return found;
}

/** proc(5): the name stands in parentheses and may hold anything. */
function statOf(pid: number): { name: string; state: string; parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const end = text.lastIndexOf(")");
    const [state = "", parent = ""] = text.slice(end + 2).split(" ");
    return { name: text.slice(text.indexOf("(") + 1, end), state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}
