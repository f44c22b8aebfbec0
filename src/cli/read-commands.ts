/** `get`, `keys`, `history`. */
import { type Command, Option } from "commander";
import type { Entry } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { entryJson } from "./json.js";
import { addClientOptions, type Session } from "./session.js";
import { formatTime, pairs, preview, showableText, table } from "./text.js";
import { formatBytes, parseRevision } from "./units.js";

export function addReadCommands(program: Command, run: RunVerb): void {
  addClientOptions(program.command("get <bucket> <key>").description("print the raw bytes of a value"))
    .addOption(
      new Option("--revision <revision>", "the value written at this revision").argParser(parseRevision),
    )
    .option("--meta", "print the value's metadata instead")
    .action((bucket: string, key: string, flags: { revision?: bigint; meta?: boolean }, command: Command) =>
      run(command, async (session) => {
        const options = { revision: flags.revision, signal: session.signal };
        const entry = await session.kv.bucket(bucket).get(key, options);
        if (session.json) await session.print(entryJson(entry), () => []);
        else if (flags.meta === true) await session.print(undefined, () => metaLines(entry));
        else await printValue(session, entry.value);
      }),
    );

  addClientOptions(
    program
      .command("keys <bucket> [filters...]")
      .alias("ls")
      .description("list the keys that match: user.*, user.>, user-*"),
  ).action((bucket: string, filters: string[], _flags: unknown, command: Command) =>
    run(command, async (session) => {
      if (session.json) {
        const keys = await session.kv.bucket(bucket).listKeys(filters, session.call);
        await session.print({ keys, count: keys.length }, () => []);
        return;
      }
      for await (const key of session.kv.bucket(bucket).keys(filters, session.call))
        await session.output.line(key);
    }),
  );

  addClientOptions(
    program.command("history <bucket> <key>").description("list the stored revisions of a key"),
  ).action((bucket: string, key: string, _flags: unknown, command: Command) =>
    run(command, async (session) => {
      const entries = await session.kv.bucket(bucket).history(key, session.call);
      await session.print({ entries: entries.map(entryJson), count: entries.length }, () =>
        historyTable(entries, session.output.columns),
      );
    }),
  );
}

/** To a pipe, writes exactly the bytes. To a terminal, adds a final line end, and never writes bytes that could control the terminal. */
async function printValue(session: Session, value: Uint8Array): Promise<void> {
  if (!session.output.isTerminal) {
    await session.output.write(value);
    return;
  }
  const text = showableText(value);
  if (text === undefined) {
    session.io.stderr.write(
      `ironflow-kv: the value is ${value.length} bytes that are not printable text; redirect the output to a file, or use --json\n`,
    );
    return;
  }
  await session.output.write(text === "" || text.endsWith("\n") ? text : `${text}\n`);
}

function metaLines(entry: Entry): string[] {
  return pairs([
    ["key", entry.key],
    ["revision", String(entry.revision)],
    ["operation", entry.operation],
    ["size", formatBytes(entry.value.length)],
    ["content type", entry.contentType === "" ? "-" : entry.contentType],
    ["created", formatTime(entry.createdAt)],
    ["expires", entry.expiresAt === undefined ? "-" : formatTime(entry.expiresAt)],
    ...Object.entries(entry.metadata).map(([name, value]) => [`meta ${name}`, value] as const),
  ]);
}

function historyTable(entries: readonly Entry[], columns: number): string[] {
  // The other columns take about 52 characters; the value gets the rest of the line.
  const valueWidth = columns - 52;
  const rows = entries.map((entry) => [
    Number(entry.revision),
    formatTime(entry.createdAt),
    entry.operation,
    formatBytes(entry.value.length),
    entry.operation === "put" ? preview(entry.value, valueWidth) : "",
  ]);
  return table(["REVISION", "TIME", "OPERATION", "SIZE", "VALUE"], rows);
}
