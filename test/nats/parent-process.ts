/** A program of its own that owns an embedded nats-server, so that tests can kill it. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import ts from "typescript";
import { spawn } from "../support/started.js";

const ROOT = join(import.meta.dirname, "../..");

export interface ParentProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly serverPid: number;
  readonly url: string;
  readonly user: string;
  readonly pass: string;
}

/** Shared by the files of a worker, as it takes a second to compile. */
let compiled: Promise<string> | undefined;

/**
 * Starts a Node process, in a process group of its own, that calls startEmbedded and ignores Ctrl-C. Resolves when its server is ready.
 */
export async function startParent(dataDir: string): Promise<ParentProcess> {
  const script = join(await (compiled ??= compile()), "parent.mjs");
  const child = spawn(process.execPath, [script, dataDir], {
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

/** Compiles the few files that it needs, as sources can't be run by Node itself. */
async function compile(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "ironflow-parent-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  await writeFile(join(directory, "package.json"), '{ "name": "ironflow-kv", "type": "module" }');
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  await symlink(join(ROOT, "embedded"), join(directory, "embedded"));
  const files = (await readdir(join(ROOT, "src/nats"), { recursive: true })).filter((file) =>
    file.endsWith(".ts"),
  );
  for (const file of files) {
    await mkdir(dirname(join(directory, "nats", file)), { recursive: true });
    const source = await readFile(join(ROOT, "src/nats", file), "utf8");
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 },
    });
    await writeFile(join(directory, "nats", file.replace(/\.ts$/, ".js")), outputText);
  }
  await writeFile(
    join(directory, "parent.mjs"),
    `import { startEmbedded } from "./nats/embedded/embedded-server.js";
process.on("SIGINT", () => undefined);
const { pid, url, user, pass } = await startEmbedded({ dataDir: process.argv[2], durability: "relaxed" });
console.log(JSON.stringify({ serverPid: pid, url, user, pass }));
`,
  );
  return directory;
}
