/** `get`, `keys`, `history`. */
import { type Command, Option } from "commander";
import type { Entry, ManyEntries } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { entryJson } from "./json.js";
import { addClientOptions, type Session } from "./session.js";
import { formatTime, pairs, preview, showableText, table } from "./text.js";
import { formatBytes, parseRevision } from "./units.js";

/** Characters of a value in a table of keys. */
const VALUE_WIDTH = 60;

export function addReadCommands(program: Command, run: RunVerb): void {
  addClientOptions(
    program
      .command("get <bucket> <keys...>")
      .description("print the raw bytes of a value, or a table of several keys at one revision"),
  )
    .addOption(
      new Option(
        "--revision <revision>",
        "of one key: the value written at this revision; of several: their values at this revision of the bucket",
      ).argParser(parseRevision),
    )
    .option("--meta", "print the value's metadata instead")
    .action(
      (bucket: string, keys: string[], flags: { revision?: bigint; meta?: boolean }, command: Command) =>
        run(command, async (session) => {
          const options = { revision: flags.revision, signal: session.signal };
          const [key = ""] = keys;
          if (keys.length > 1)
            await printMany(session, keys, await session.kv.bucket(bucket).getMany(keys, options));
          else
            await printOne(session, await session.kv.bucket(bucket).get(key, options), flags.meta === true);
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

async function printOne(session: Session, entry: Entry, isMeta: boolean): Promise<void> {
  if (session.json) await session.print(entryJson(entry), () => []);
  else if (isMeta) await session.print(undefined, () => metaLines(entry));
  else await printValue(session, entry.value);
}

/** As in the response to POST .../batch-get, or a table. */
async function printMany(
  session: Session,
  keys: readonly string[],
  { entries, revision }: ManyEntries,
): Promise<void> {
  const results = keys.map((key, index) => ({ key, entry: entries[index] }));
  const json = results.map(({ key, entry }) => ({
    key,
    entry: entry === undefined ? null : entryJson(entry),
  }));
  await session.print({ results: json, revision: Number(revision) }, () =>
    table(
      ["KEY", "REVISION", "SIZE", "VALUE"],
      results.map(({ key, entry }) =>
        entry === undefined
          ? [key, "-", "-", ""]
          : [key, String(entry.revision), formatBytes(entry.value.length), preview(entry.value, VALUE_WIDTH)],
      ),
    ),
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
