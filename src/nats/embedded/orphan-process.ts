/** Ends a nats-server that an earlier service left behind: that takes a `kill -9` of the service and of the server's watcher. */
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
 * Ends the process whose pid is in the file, if it runs with our configuration file: the pid alone may be another process's by now.
 * Only for the owner of the data directory. Resolves with the pid when it is gone, or undefined when there was none.
 */
export async function endLeftover(pidFile: string, configFile: string): Promise<number | undefined> {
  const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const lives = async (): Promise<boolean> => (await commandLineOf(pid)).includes(` -c ${configFile}`);
  if (!(await lives())) return undefined;
  signal(pid, "SIGTERM");
  if (await endsWithin(TERM_TIMEOUT_MS, lives)) return pid;
  signal(pid, "SIGKILL");
  if (await endsWithin(KILL_TIMEOUT_MS, lives)) return pid;
  throw new StartError(
    `A nats-server with pid ${pid}, left behind by an earlier service, uses the data directory and can't be ended; end it first.`,
  );
}

async function endsWithin(timeoutMs: number, lives: () => Promise<boolean>): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (await lives()) {
    if (performance.now() > deadlineMs) return false;
    await delay(POLL_MS);
  }
  return true;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    kill(pid, name);
  } catch {
    // Gone by itself, or another user's; looking again tells.
  }
}

/** A process's command line; empty when there is no such process. */
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
