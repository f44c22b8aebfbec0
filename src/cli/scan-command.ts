/** `scan`. */
import { type Command, Option } from "commander";
import type { RunVerb } from "./bucket-commands.js";
import { entryJson } from "./json.js";
import { addClientOptions } from "./session.js";
import { preview, printable } from "./text.js";
import { parseCount } from "./units.js";

interface ScanFlags {
  readonly prefix?: string;
  readonly from?: string;
  readonly to?: string;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly keysOnly?: boolean;
  readonly allowNewer?: boolean;
}

/** The narrowest column of values. */
const VALUE_WIDTH_MIN = 20;

export function addScanCommand(program: Command, run: RunVerb): void {
  addClientOptions(
    program
      .command("scan <bucket> [filters...]")
      .description("print the keys and values that match, in the order of keys, at one revision"),
  )
    .option("--prefix <text>", "only keys that begin with this text")
    .option("--from <key>", "begin with this key, or the next one")
    .option("--to <key>", "end before this key")
    .option("--reverse", "from the last key to the first")
    .addOption(new Option("--limit <count>", "the most entries").argParser(parseCount))
    .option("--keys-only", "without values")
    .option("--allow-newer", "continue at a newer revision where a value is no longer kept")
    .action((bucket: string, filters: string[], flags: ScanFlags, command: Command) =>
      run(command, async (session) => {
        const { prefix, from, to, reverse, limit, keysOnly, allowNewer } = flags;
        const { output, signal } = session;
        const scan = session.kv.bucket(bucket).scan({
          ...{ filters, prefix, startKey: from, endKey: to, reverse, limit, keysOnly, allowNewer, signal },
        });
        for await (const entry of scan) {
          const { key, value } = entry;
          const width = Math.max(VALUE_WIDTH_MIN, output.columns - key.length - 2);
          if (session.json) await output.line(JSON.stringify(entryJson(entry)));
          else
            await output.line(
              keysOnly === true ? printable(key) : `${printable(key)}  ${preview(value, width)}`,
            );
        }
        if (!session.json) return;
        const { isComplete: complete, revision } = scan;
        await output.line(JSON.stringify({ end: true, complete, revision: Number(revision) }));
      }),
    );
}
