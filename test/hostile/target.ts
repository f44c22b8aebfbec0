/** The built service in a process of its own, as a target: whether it lives, what it logs, and how much memory it holds. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { spawn } from "../support/started.js";

const ROOT = join(import.meta.dirname, "../..");
/** Pino's number for errors. */
const ERROR_LEVEL = 50;
/** Resets VmHWM, the peak of the resident memory (proc_pid_clear_refs(5)). */
const RESET_PEAK = "5";

export interface Target {
  readonly url: string;
  readonly port: number;
  /** What it logged as an error: none is expected, whatever clients send. */
  readonly errors: readonly string[];
  /** How it ended; undefined while it runs. */
  readonly ending: string | undefined;
  /** In bytes, without garbage. */
  memory(): Promise<NodeJS.MemoryUsage>;
  /** Collects garbage, and measures the peak of the resident memory from now on. Returns the resident memory now, in bytes. Linux only. */
  resetPeak(): Promise<number>;
  /** The peak of the resident memory since `resetPeak`, in bytes. */
  peakBytes(): Promise<number>;
  remove(): Promise<void>;
}

/** Starts it with these flags. Rejects when it ends before it is ready. */
export async function startTarget(flags: Readonly<Record<string, string>>): Promise<Target> {
  const dataDir = await mkdtemp(join(tmpdir(), "ironflow-target-"));
  const settings = Object.entries({ port: "0", "data-dir": dataDir, durability: "relaxed", ...flags });
  const child = spawn(
    process.execPath,
    [
      ...["--expose-gc", "--import", join(import.meta.dirname, "memory-report.mjs")],
      join(ROOT, "dist/src/main.js"),
      "serve",
      ...settings.flatMap(([flag, value]) => [`--${flag}`, value]),
    ],
    { stdio: ["ignore", "pipe", "pipe", "ipc"] },
  );
  let ending: string | undefined;
  child.once("exit", (code, signal) => (ending = `code ${code ?? "none"}, signal ${signal ?? "none"}`));
  const errors: string[] = [];
  child.stderr?.on("data", (chunk: Buffer) => errors.push(chunk.toString()));
  const url = await readLog(child, errors);
  const memory = async (): Promise<NodeJS.MemoryUsage> => {
    child.send("how much?");
    const [usage] = (await once(child, "message")) as [NodeJS.MemoryUsage];
    return usage;
  };
  return {
    url,
    port: Number(new URL(url).port),
    errors,
    get ending() {
      return ending;
    },
    memory,
    async resetPeak() {
      const { rss } = await memory();
      await writeFile(`/proc/${child.pid}/clear_refs`, RESET_PEAK);
      return rss;
    },
    async peakBytes() {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) * 1_024;
    },
    async remove() {
      if (ending === undefined) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Follows the log; resolves with the address when the service is ready. */
function readLog(child: ChildProcess, errors: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once("exit", () =>
      reject(new Error(`The service ended before it was ready: ${errors.join("\n")}`)),
    );
    if (child.stdout === null) throw new Error("there is no log to read");
    createInterface({ input: child.stdout }).on("line", (line) => {
      const entry = JSON.parse(line) as { level: number; msg?: string; url?: string };
      if (entry.level >= ERROR_LEVEL) errors.push(line);
      if (entry.url !== undefined) resolve(entry.url);
    });
  });
}
