/**
 * Processes and services that tests start. Whatever a failed test leaves running ends with its file: `setup.ts` calls {@link endStarted}
 * after each. If the worker itself is killed, a small shell ends its processes.
 */
import { type ChildProcess, type ChildProcessByStdio, spawn as spawnProcess } from "node:child_process";
import { once } from "node:events";
import { Socket } from "node:net";
import type { Writable } from "node:stream";

const started = new Map<object, () => Promise<unknown>>();

/** Time for a process to end after SIGTERM: it may have processes of its own to end. */
const TERM_MS_MAX = 10_000;

/** Registers what must end with the test file. `end` is not called after {@link ended}. */
export function track(thing: object, end: () => Promise<unknown>): void {
  started.set(thing, end);
}

/** Call it when the test has ended the thing itself, or when something else will end it. */
export function ended(thing: object): void {
  started.delete(thing);
}

/** As Node's `spawn`, for a process that ends with the test file. */
export const spawn = ((...args: Parameters<typeof spawnProcess>): ChildProcess => {
  const child = spawnProcess(...args);
  const { pid } = child;
  track(child, () => endChild(child));
  if (pid !== undefined) reaper.add(pid);
  child.once("exit", () => {
    ended(child);
    if (pid !== undefined) reaper.remove(pid);
  });
  return child;
}) as typeof spawnProcess;

/** Ends what is left, the latest first. */
export async function endStarted(): Promise<void> {
  for (const [thing, end] of [...started].reverse()) {
    started.delete(thing);
    await end().catch(() => undefined);
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  // A stopped process gets signals only once it continues.
  child.kill("SIGCONT");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), TERM_MS_MAX);
  await exited;
  clearTimeout(timer);
}

/** Reads `+ pid` and `- pid`, and kills what is left at the end of its input, which is the end of this process. */
const REAPER = `trap '' INT TERM HUP
pids=' '
while read -r change pid; do
  case $change in
    +) pids="$pids$pid " ;;
    -) case $pids in *" $pid "*) pids="\${pids%%" $pid "*} \${pids#*" $pid "}" ;; esac ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done`;

/** Kills processes of this worker that outlive it. */
class Reaper {
  private shell: ChildProcessByStdio<Writable, null, null> | undefined;

  add(pid: number): void {
    this.tell(`+ ${pid}`);
  }

  remove(pid: number): void {
    this.tell(`- ${pid}`);
  }

  private tell(line: string): void {
    if (process.platform === "win32") return;
    this.shell ??= this.start();
    this.shell.stdin.write(`${line}\n`);
  }

  private start(): ChildProcessByStdio<Writable, null, null> {
    const shell = spawnProcess("/bin/sh", ["-c", REAPER], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    shell.stdin.on("error", () => undefined);
    shell.unref();
    // Else it keeps the worker from ending.
    if (shell.stdin instanceof Socket) shell.stdin.unref();
    return shell;
  }
}

const reaper = new Reaper();
