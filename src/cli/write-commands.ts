/** `put`, `create`, `update`, `touch`, `del`, `purge`. */
import { createReadStream } from "node:fs";
import { buffer } from "node:stream/consumers";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { PutOptions, Storable, WriteResult } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { addClientOptions, type Session } from "./session.js";
import { parseDurationMs, parseRevision } from "./units.js";

interface ValueFlags {
  readonly file?: string;
  readonly contentType?: string;
  /** In milliseconds. */
  readonly ttl?: number;
  readonly meta?: Readonly<Record<string, string>>;
}

const VALUE_HELP = `
The value is the argument, or the content of --file. If it is - or missing, it is read from standard input.`;

export function addWriteCommands(program: Command, run: RunVerb): void {
  withValue(program.command("put <bucket> <key> [value]").description("write a value")).action(
    (bucket: string, key: string, value: string | undefined, flags: ValueFlags, command: Command) =>
      run(command, async (session) => {
        const bytes = await valueOf(session, command, value, flags);
        const result = await session.kv.bucket(bucket).put(key, bytes, optionsOf(session, flags));
        await printRevision(session, key, result);
      }),
  );

  withValue(
    program.command("create <bucket> <key> [value]").description("write a value if the key has none"),
  ).action((bucket: string, key: string, value: string | undefined, flags: ValueFlags, command: Command) =>
    run(command, async (session) => {
      const bytes = await valueOf(session, command, value, flags);
      const result = await session.kv.bucket(bucket).create(key, bytes, optionsOf(session, flags));
      await printRevision(session, key, result);
    }),
  );

  withValue(
    program
      .command("update <bucket> <key> [value]")
      .description("write a value if the key's newest revision is the given one"),
  )
    .addOption(ifRevision().makeOptionMandatory())
    .action(
      (
        bucket: string,
        key: string,
        value: string | undefined,
        flags: ValueFlags & { ifRevision: bigint },
        command: Command,
      ) =>
        run(command, async (session) => {
          const bytes = await valueOf(session, command, value, flags);
          const handle = session.kv.bucket(bucket);
          const result = await handle.update(key, bytes, flags.ifRevision, optionsOf(session, flags));
          await printRevision(session, key, result);
        }),
    );

  addClientOptions(
    program
      .command("touch <bucket> <key>")
      .description("give a key another TTL, or none; its value stays as it is"),
  )
    .addOption(ttlOption())
    .addOption(ifRevision())
    .action((bucket: string, key: string, flags: { ttl?: number; ifRevision?: bigint }, command: Command) =>
      run(command, async (session) => {
        const { ifRevision } = flags;
        const options = { ...session.call, ifRevision, ttlSeconds: secondsOf(flags.ttl) };
        await printRevision(session, key, await session.kv.bucket(bucket).touch(key, options));
      }),
    );

  addClientOptions(
    program.command("del <bucket> <key>").alias("delete").description("delete a key; its history stays"),
  )
    .addOption(ifRevision())
    .action((bucket: string, key: string, flags: { ifRevision?: bigint }, command: Command) =>
      run(command, async (session) => {
        const options = { ifRevision: flags.ifRevision, signal: session.signal };
        await printRemoval(session, key, await session.kv.bucket(bucket).delete(key, options));
      }),
    );

  addClientOptions(
    program.command("purge <bucket> <key>").description("permanently delete a key and its history"),
  )
    .addOption(ifRevision())
    .option("-y, --yes", "do not ask for confirmation")
    .action((bucket: string, key: string, flags: { ifRevision?: bigint; yes?: boolean }, command: Command) =>
      run(command, async (session) => {
        await session.confirm(`Permanently delete ${JSON.stringify(key)} and its history?`, flags.yes);
        const options = { ifRevision: flags.ifRevision, signal: session.signal };
        await printRemoval(session, key, await session.kv.bucket(bucket).purge(key, options));
      }),
    );
}

function withValue(command: Command): Command {
  return addClientOptions(command)
    .option("-f, --file <path>", "read the value from a file; -: from standard input")
    .option("--content-type <type>", "the media type to store with the value")
    .addOption(ttlOption())
    .addOption(
      new Option("--meta <name=value>", "metadata to store with the value; repeatable").argParser(parseMeta),
    )
    .addHelpText("after", VALUE_HELP);
}

function ifRevision(): Option {
  return new Option("--if-revision <revision>", "only if the key's newest revision is this one").argParser(
    parseRevision,
  );
}

function ttlOption(): Option {
  return new Option("--ttl <duration>", "how long the value lives, such as 30s or 1h").argParser(
    parseDurationMs,
  );
}

/** `name=value`. Appends to the pairs given before it. */
function parseMeta(text: string, given: ValueFlags["meta"] = {}): ValueFlags["meta"] {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Expected name=value.");
  return { ...given, [text.slice(0, at)]: text.slice(at + 1) };
}

function secondsOf(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1_000;
}

function optionsOf(session: Session, { contentType, ttl, meta }: ValueFlags): PutOptions {
  return { ...session.call, contentType, ttlSeconds: secondsOf(ttl), metadata: meta };
}

async function valueOf(
  session: Session,
  command: Command,
  value: string | undefined,
  flags: ValueFlags,
): Promise<Storable> {
  if (value !== undefined && flags.file !== undefined)
    command.error("error: a value and --file are both set; use one of them");
  const source = value ?? flags.file ?? "-";
  if (source === "-") {
    if (value === undefined && flags.file === undefined && session.io.stdin.isTTY === true) {
      command.error("error: the value is missing; add it, --file, or - for standard input");
    }
    return await buffer(session.io.stdin);
  }
  return value ?? (await buffer(createReadStream(source)));
}

/** Prints a sentence on a terminal, the bare revision to a pipe. */
async function printRevision(session: Session, key: string, { revision }: WriteResult): Promise<void> {
  await session.print({ revision: Number(revision) }, () => [
    session.output.isTerminal ? `${key} is at revision ${String(revision)}` : String(revision),
  ]);
}

async function printRemoval(session: Session, key: string, { revision }: WriteResult): Promise<void> {
  const sentence =
    revision === 0n ? `${key} had no value` : `${key} is deleted, at revision ${String(revision)}`;
  await session.print({ revision: Number(revision) }, () => [
    session.output.isTerminal ? sentence : String(revision),
  ]);
}
