/** A program of its own that owns an embedded nats-server, so that tests can kill it. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { spawn } from "../support/started.js";

export interface ParentProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly serverPid: number;
  readonly url: string;
  readonly user: string;
  readonly pass: string;
}

/** Of the built service: Node can't run its sources. */
const EMBEDDED = pathToFileURL(
  join(import.meta.dirname, "../../dist/src/nats/embedded/embedded-server.js"),
).href;
const PROGRAM = `
import { startEmbedded } from ${JSON.stringify(EMBEDDED)};
process.on("SIGINT", () => undefined);
const { pid, url, user, pass } = await startEmbedded({ dataDir: process.argv[1], durability: "relaxed" });
console.log(JSON.stringify({ serverPid: pid, url, user, pass }));
`;

/**
 * Starts a Node process, in a process group of its own, that calls startEmbedded and ignores Ctrl-C. Resolves when its server is ready.
 */
export async function startParent(dataDir: string): Promise<ParentProcess> {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM, dataDir], {
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done === true) throw new Error("the parent process ended before its server was ready");
  const { serverPid, url, user, pass } = JSON.parse(first.value) as Omit<ParentProcess, "child" | "pid">;
  return { child, pid: child.pid ?? -1, serverPid, url, user, pass };
}

/** Ends it the hard way. */
export async function killParent(parent: ParentProcess): Promise<void> {
  const exited = once(parent.child, "exit");
  parent.child.kill("SIGKILL");
  await exited;
}
