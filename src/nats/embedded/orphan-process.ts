/** Stops a nats-server that an earlier service left running, which happens if both the service and the server's guard were killed. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { kill } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { StartError } from "../client/start-error.js";

const TERM_TIMEOUT_MS = 10_000;
const KILL_TIMEOUT_MS = 2_000;
const POLL_MS = 20;

/**
 * Stops the process whose PID is in the file, if its command line has the configuration file: the PID may belong to another process by now.
 * Only for the owner of the data directory. Resolves with the PID when the process has ended; undefined if there was none.
 */
export async function stopOrphan(pidFile: string, configFile: string): Promise<number | undefined> {
  const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const isRunning = async (): Promise<boolean> => (await commandLineOf(pid)).includes(` -c ${configFile}`);
  if (!(await isRunning())) return undefined;
  signal(pid, "SIGTERM");
  if (await endsWithin(TERM_TIMEOUT_MS, isRunning)) return pid;
  signal(pid, "SIGKILL");
  if (await endsWithin(KILL_TIMEOUT_MS, isRunning)) return pid;
  throw new StartError(
    `A nats-server with PID ${pid}, left running by an earlier service, uses the data directory and can't be stopped; stop it first.`,
  );
}

async function endsWithin(timeoutMs: number, isRunning: () => Promise<boolean>): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (await isRunning()) {
    if (performance.now() > deadlineMs) return false;
    await delay(POLL_MS);
  }
  return true;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    kill(pid, name);
  } catch {
    // It has ended, or belongs to another user: the next check shows which.
  }
}

/** A process's command line; empty if there is no such process. */
async function commandLineOf(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ");
  } catch (error) {
    const hasNoProc =
      (error as NodeJS.ErrnoException).code === "ENOENT" && (await isMissing("/proc/self/cmdline"));
    if (!hasNoProc) return "";
  }
  return promisify(execFile)("ps", ["-o", "args=", "-p", String(pid)]).then(
    ({ stdout }) => stdout,
    () => "",
  );
}

function isMissing(file: string): Promise<boolean> {
  return readFile(file).then(
    () => false,
    () => true,
  );
}
