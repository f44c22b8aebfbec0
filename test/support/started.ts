/**
 * Everything that tests start. What a failed test leaves running ends with its file: the setup file calls {@link endStarted} after each.
 */
import { type ChildProcess, spawn as spawnProcess } from "node:child_process";
import { once } from "node:events";

const started = new Map<object, () => Promise<unknown>>();

/** Time for a process to end by itself after SIGTERM, as it has to end processes of its own. */
const TERM_MS_MAX = 10_000;

/** Registers what must end with the test file. `end` is not called after {@link ended}. */
export function track(thing: object, end: () => Promise<unknown>): void {
  started.set(thing, end);
}

/** Call it when the test has ended the thing itself. */
export function ended(thing: object): void {
  started.delete(thing);
}

/** As Node's `spawn`, for a process that ends with the test file. */
export const spawn = ((...args: Parameters<typeof spawnProcess>): ChildProcess => {
  const child = spawnProcess(...args);
  track(child, () => endChild(child));
  child.once("exit", () => ended(child));
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
