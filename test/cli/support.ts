/** Two ways to run the command: the built program as a process, and the same code here, where a terminal can be pretended. */
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { buildProgram } from "../../src/cli/program.js";
import type { ServeFlags } from "../../src/cli/serve-command.js";
import { flagOf } from "../../src/config/setting.js";
import { ALL_SETTINGS } from "../../src/config/config.js";
import { spawn } from "../support/started.js";

export const MAIN = join(import.meta.dirname, "../../dist/src/main.js");

export interface Run {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Pretend that a person sits there. */
  readonly isTerminal?: boolean;
  readonly signal?: AbortSignal;
  readonly serve?: (flags: ServeFlags) => Promise<number>;
}

/** Starts the built program. It sees nothing of this process's environment but PATH. */
export function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env.PATH, ...env } });
}

/** Runs the built program to its end. */
export async function runBuilt(
  args: readonly string[],
  options: RunOptions = {},
): Promise<Run & { bytes: Buffer }> {
  const child = start(args, options.env);
  child.stdin.end(options.input ?? "");
  const [bytes, stderr, [exitCode]] = await Promise.all([
    buffer(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { exitCode, bytes, stdout: bytes.toString(), stderr };
}

/** Runs the command in this process. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const isTTY = options.isTerminal ?? false;
  const stdin = Object.assign(new PassThrough(), { isTTY });
  const stdout = Object.assign(new PassThrough(), { isTTY, columns: 100 });
  const stderr = Object.assign(new PassThrough(), { isTTY });
  stdin.end(options.input ?? "");
  const program = buildProgram({
    serve: options.serve ?? (() => Promise.resolve(0)),
    settings: ALL_SETTINGS,
    flagOf,
    version: "1.2.3",
    io: { stdin, stdout, stderr, env: options.env ?? {}, signal: options.signal },
  });
  const outputs = Promise.all([text(stdout), text(stderr)]);
  const exitCode = await program.run(args);
  stdout.end();
  stderr.end();
  const [out, err] = await outputs;
  return { exitCode, stdout: out, stderr: err };
}
