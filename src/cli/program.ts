/** The command `ironflow-kv`: its verbs and their error handling. */
import { Command, CommanderError } from "commander";
import { KvError } from "@ironflow-kv/client";
import type { Setting } from "../config/setting.js";
import { addBackupCommands } from "./backup-commands.js";
import { addBucketCommands, type RunVerb } from "./bucket-commands.js";
import { addConfigCommands } from "./config-commands.js";
import { addDeleteKeysCommand } from "./delete-keys-command.js";
import { EXIT, EXIT_CODES_HELP, exitCodeOf } from "./exit-codes.js";
import { type CliIo, Output, OutputClosedError } from "./io.js";
import { addKeyCommands } from "./key-commands.js";
import { addLockCommands, ProgramExitError } from "./lock-command.js";
import { addReadCommands } from "./read-commands.js";
import { addScanCommand } from "./scan-command.js";
import { addServeCommand, type ServeFlags } from "./serve-command.js";
import { addClientOptions, givenFlags, openSession } from "./session.js";
import { StoppedError } from "./stopped.js";
import { printable } from "./text.js";
import { addWatchCommand } from "./watch-command.js";
import { addTxnCommand } from "./txn-command.js";
import { addWriteCommands } from "./write-commands.js";

export interface ProgramParts {
  /** Runs the service until it is stopped; returns its exit code. */
  serve(flags: ServeFlags): Promise<number>;
  /** The settings that `serve` accepts as flags. */
  readonly settings: readonly Setting[];
  /** The name of a setting's flag, without the dashes. */
  readonly flagOf: (setting: Setting) => string;
  readonly io: CliIo;
  /** For `--version`. */
  readonly version?: string | undefined;
}

export interface Program {
  /** Runs one command line, without the program's own name. Returns the exit code; never throws. */
  run(args: readonly string[]): Promise<number>;
}

/** Builds the command. It reads and writes through `io` only. */
export function buildProgram(parts: ProgramParts): Program {
  const { io } = parts;
  const output = new Output(io.stdout);
  const outcome = { exitCode: 0, json: false };
  const run: RunVerb = async (command, verb) => {
    outcome.json = givenFlags(command).json ?? false;
    await verb(openSession(command, io, output));
  };
  const program = baseProgram(parts);
  addServeCommand(program, parts, async (flags) => {
    outcome.exitCode = await parts.serve(flags);
  });
  addBucketCommands(program, run);
  addReadCommands(program, run);
  addScanCommand(program, run);
  addWriteCommands(program, run);
  addDeleteKeysCommand(program, run);
  addTxnCommand(program, run);
  addWatchCommand(program, run);
  addLockCommands(program, run);
  addBackupCommands(program, run);
  addKeyCommands(program, run);
  addConfigCommands(program, run);
  return {
    async run(args) {
      try {
        await program.parseAsync(args, { from: "user" });
        return outcome.exitCode;
      } catch (error) {
        if (io.signal?.aborted === true) return EXIT.interrupted;
        report(io, error, outcome.json);
        return exitCodeOf(error);
      }
    },
  };
}

function baseProgram({ io, version }: ProgramParts): Command {
  const program = new Command("ironflow-kv")
    .description("A key-value service on NATS JetStream, and its client.")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, "ironflow-kv: ")),
    })
    .addHelpText("after", EXIT_CODES_HELP);
  if (version !== undefined) program.version(version);
  return addClientOptions(program);
}

/** One line on standard error; with `--json`, the error's JSON as in the REST API. Commander has already printed its own errors. */
function report(io: CliIo, thrown: unknown, json: boolean): void {
  if (thrown instanceof CommanderError || thrown instanceof OutputClosedError) return;
  if (thrown instanceof ProgramExitError) return;
  const sentence = thrown instanceof Error ? thrown.message : String(thrown);
  const error = thrown instanceof StoppedError ? thrown.cause : thrown;
  if (!json) {
    io.stderr.write(`ironflow-kv: ${printable(sentence)}\n`);
    return;
  }
  const code = error instanceof KvError ? (error.reason === "" ? error.code : error.reason) : "failed";
  const revision =
    error instanceof KvError && error.revision !== undefined ? Number(error.revision) : undefined;
  io.stderr.write(`${JSON.stringify({ error: sentence, code, revision })}\n`);
}
