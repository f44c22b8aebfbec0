/** `lock` and `elect`: run a program while this client holds a lock, or leads. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { hostname } from "node:os";
import { type Command, Option } from "commander";
import type { Lease } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { addClientOptions, type Session } from "./session.js";
import { parseDurationMs } from "./units.js";

interface LeaseFlags {
  /** In milliseconds. */
  readonly ttl?: number;
  /** In milliseconds. */
  readonly wait?: number;
  readonly value?: string;
}

/** How long a program has to end after SIGTERM when its lease is lost. */
const STOP_TIMEOUT_MS = 5_000;
const SIGNAL_EXIT_CODE = 128;

const HELP = `
The program gets the name of the lock in IRONFLOW_LOCK, and the fencing token in IRONFLOW_FENCING_TOKEN. If the lock is
lost, the program gets SIGTERM, and SIGKILL after 5 seconds; the command then ends with exit code 4. Otherwise it ends
with the exit code of the program. The bucket must have a history of 1.`;

/** A program's own exit code. */
export class ProgramExitError extends Error {
  override readonly name = "ProgramExitError";

  constructor(readonly exitCode: number) {
    super(`The program ended with exit code ${exitCode}.`);
  }
}

export function addLockCommands(program: Command, run: RunVerb): void {
  withLease(program.command("lock <bucket> <name> <command...>"))
    .description("run a program while holding a lock: lock jobs nightly -- ./nightly.sh")
    .addOption(new Option("--value <text>", "what others read at the key (default: empty)"))
    .action((bucket: string, name: string, words: string[], flags: LeaseFlags, command: Command) =>
      run(command, (session) => runHolding(session, "lock", { bucket, name, words, flags })),
    );

  withLease(program.command("elect <bucket> <name> <command...>"))
    .description("run a program while being the leader: elect jobs leader -- ./leader.sh")
    .addOption(new Option("--value <text>", "what others read at the key (default: the host's name)"))
    .action((bucket: string, name: string, words: string[], flags: LeaseFlags, command: Command) =>
      run(command, (session) => {
        const value = flags.value ?? hostname();
        return runHolding(session, "elect", { bucket, name, words, flags: { ...flags, value } });
      }),
    );
}

function withLease(command: Command): Command {
  return addClientOptions(command)
    .addOption(
      new Option(
        "--ttl <duration>",
        "how long the lock outlives a client that is gone (default 15s)",
      ).argParser(parseDurationMs),
    )
    .addOption(
      new Option(
        "--wait <duration>",
        "how long to wait for the lock; 0: not at all (default: forever)",
      ).argParser(parseDurationMs),
    )
    .addHelpText("after", HELP);
}

interface Held {
  readonly bucket: string;
  readonly name: string;
  readonly words: readonly string[];
  readonly flags: LeaseFlags;
}

async function runHolding(
  session: Session,
  method: "lock" | "elect",
  { bucket, name, words, flags }: Held,
): Promise<void> {
  const ttlSeconds = flags.ttl === undefined ? undefined : flags.ttl / 1_000;
  const options = { ttlSeconds, waitMs: flags.wait, value: flags.value, signal: session.signal };
  const lease = await session.kv.bucket(bucket)[method](name, options);
  let exitCode: number;
  try {
    exitCode = await runProgram(session, lease, words);
  } finally {
    await lease.release();
  }
  lease.signal.throwIfAborted();
  if (exitCode !== 0) throw new ProgramExitError(exitCode);
}

/** Runs the program with this one's input and output. Stops it if the lease is lost, or this program is to end. */
async function runProgram(session: Session, lease: Lease, words: readonly string[]): Promise<number> {
  const [file = "", ...args] = words;
  const env = {
    ...session.io.env,
    IRONFLOW_LOCK: lease.name,
    IRONFLOW_FENCING_TOKEN: String(lease.fencingToken),
  };
  const child = spawn(file, args, { stdio: "inherit", env });
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill("SIGTERM");
    timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  };
  const signals = [session.signal, lease.signal];
  for (const signal of signals) signal.addEventListener("abort", stop, { once: true });
  if (signals.some(({ aborted }) => aborted)) stop();
  try {
    const [code] = (await once(child, "exit")) as [number | null];
    return code ?? SIGNAL_EXIT_CODE;
  } finally {
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", stop);
  }
}
