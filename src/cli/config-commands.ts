/** `config list|get|set|patch|rm|watch`. */
import { text } from "node:stream/consumers";
import { type Command, Option } from "commander";
import type { ConfigData, ConfigInfo, ConfigUpdate } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { addClientOptions, type Session } from "./session.js";
import { formatTime, printable, table } from "./text.js";
import { parseRevision } from "./units.js";

interface WriteFlags {
  readonly ifRevision?: bigint;
  readonly ifAbsent?: boolean;
}

export function addConfigCommands(program: Command, run: RunVerb): void {
  const group = addClientOptions(
    program.command("config").description("read, write and watch configs: named JSON objects"),
  );

  addClientOptions(group.command("list").alias("ls").description("list the configs")).action(
    (_flags: unknown, command: Command) =>
      run(command, async (session) => {
        const configs = await session.configs.list(session.call);
        await session.print({ configs: configs.map(infoJson), count: configs.length }, () =>
          table(
            ["NAME", "REVISION", "UPDATED"],
            configs.map(({ name, revision, updatedAt }) => [
              ...[printable(name), String(revision), formatTime(updatedAt)],
            ]),
          ),
        );
      }),
  );

  addClientOptions(group.command("get <name>").description("print a config")).action(
    (name: string, _flags: unknown, command: Command) =>
      run(command, async (session) => {
        const config = await session.configs.get(name, session.call);
        const { data } = config;
        await session.print({ ...infoJson(config), data }, () => [JSON.stringify(data, undefined, 2)]);
      }),
  );

  addClientOptions(
    group
      .command("set <name> [json]")
      .description("write a config: a JSON object; - or missing: from standard input"),
  )
    .addOption(ifRevision())
    .option("--if-absent", "only if the config does not exist")
    .action((name: string, json: string | undefined, flags: WriteFlags, command: Command) =>
      run(command, async (session) => {
        const options = { ...session.call, ...flagsOf(flags), ifAbsent: flags.ifAbsent };
        const data = await dataOf(session, command, json);
        await printRevision(session, name, await session.configs.set(name, data, options));
      }),
    );

  addClientOptions(
    group
      .command("patch <name> [json]")
      .description(
        "replace some members of a config, and keep the others; - or missing: from standard input",
      ),
  )
    .addOption(ifRevision())
    .action((name: string, json: string | undefined, flags: WriteFlags, command: Command) =>
      run(command, async (session) => {
        const data = await dataOf(session, command, json);
        const options = { ...session.call, ...flagsOf(flags) };
        await printRevision(session, name, await session.configs.patch(name, data, options));
      }),
    );

  addClientOptions(group.command("rm <name>").alias("delete").description("delete a config"))
    .addOption(ifRevision())
    .action((name: string, flags: WriteFlags, command: Command) =>
      run(command, (session) => session.configs.delete(name, { ...session.call, ...flagsOf(flags) })),
    );

  addClientOptions(
    group.command("watch <name>").description("print a config, and again whenever it changes"),
  ).action((name: string, _flags: unknown, command: Command) =>
    run(command, async (session) => {
      for await (const update of session.configs.watch(name, { signal: session.signal }))
        await session.output.line(session.json ? updateJson(update) : JSON.stringify(update.data ?? null));
    }),
  );
}

function flagsOf({ ifRevision }: WriteFlags): { ifRevision: bigint | undefined } {
  return { ifRevision };
}

function ifRevision(): Option {
  return new Option("--if-revision <revision>", "only if this is the config's revision").argParser(
    parseRevision,
  );
}

async function dataOf(session: Session, command: Command, json: string | undefined): Promise<ConfigData> {
  if (json === undefined && session.io.stdin.isTTY === true)
    command.error("error: the JSON is missing; add it, or - for standard input");
  const source = json === undefined || json === "-" ? await text(session.io.stdin) : json;
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    return command.error("error: the config is not JSON; it must be a JSON object");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    command.error("error: the config is JSON, but not an object; it must be a JSON object");
  return value as ConfigData;
}

/** Prints a sentence on a terminal, the bare revision to a pipe. */
async function printRevision(
  session: Session,
  name: string,
  { revision }: { readonly revision: bigint },
): Promise<void> {
  await session.print({ name, revision: Number(revision) }, () => [
    session.output.isTerminal ? `${printable(name)} is at revision ${revision}` : String(revision),
  ]);
}

function infoJson({ name, revision, updatedAt }: ConfigInfo) {
  return { name, revision: Number(revision), updatedAt: updatedAt.toISOString() };
}

function updateJson(update: ConfigUpdate): string {
  return JSON.stringify({ ...infoJson(update), data: update.data ?? null });
}
