/** `watch`: prints one line per change, until Ctrl-C. */
import { type Command, Option } from "commander";
import type { ChangeEvent, KvError, WatchOptions } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { entryJson } from "./json.js";
import { addClientOptions, type Session } from "./session.js";
import { formatTime, preview, printable } from "./text.js";
import { parseCount, parseRevision } from "./units.js";

interface WatchFlags {
  readonly start?: "snapshot" | "history" | "now";
  readonly startRevision?: bigint;
  readonly ignoreDeletes?: boolean;
  readonly keysOnly?: boolean;
  readonly everyChange?: boolean;
  readonly count?: number;
}

export function addWatchCommand(program: Command, run: RunVerb): void {
  addClientOptions(
    program
      .command("watch <bucket> [filters...]")
      .description("print the current values, then each change as it happens, until Ctrl-C"),
  )
    .addOption(
      new Option("--start <where>", "where to start (default snapshot)").choices([
        "snapshot",
        "history",
        "now",
      ]),
    )
    .addOption(
      new Option("--start-revision <revision>", "start with the changes from this revision on")
        .argParser(parseRevision)
        .conflicts("start"),
    )
    .option("--ignore-deletes", "omit deletes, purges and expiries")
    .option("--keys-only", "omit the values")
    .option(
      "--every-change",
      "fail instead of omitting changes that were superseded before they could be sent",
    )
    .addOption(new Option("--count <count>", "exit after this many changes").argParser(parseCount))
    .action((bucket: string, filters: string[], flags: WatchFlags, command: Command) =>
      run(command, (session) => watch(session, bucket, filters, flags)),
    );
}

async function watch(
  session: Session,
  bucket: string,
  filters: readonly string[],
  flags: WatchFlags,
): Promise<void> {
  // A watch retries forever if the service is unreachable; this call fails.
  await session.kv.getBucketInfo(bucket, session.call);
  const options: WatchOptions & { marks?: false } = {
    signal: session.signal,
    start: flags.start,
    startRevision: flags.startRevision,
    ignoreDeletes: flags.ignoreDeletes,
    keysOnly: flags.keysOnly,
    everyChange: flags.everyChange,
    onInterrupted: interruptionNotice(session),
  };
  let left = flags.count ?? Infinity;
  for await (const event of session.kv.bucket(bucket).watch(filters, options)) {
    const line = session.json
      ? JSON.stringify({
          bucket,
          ...entryJson(event),
          ...(event.superseded > 0 && { superseded: event.superseded }),
        })
      : eventLine(session, event, flags.keysOnly === true);
    await session.output.line(line);
    if (--left === 0) break;
  }
}

/** Prints interruptions of the watch on the terminal: once per cause, not per attempt. */
function interruptionNotice(session: Session): (error: KvError) => void {
  let last = "";
  return (error) => {
    if (session.io.stderr.isTTY === true && error.message !== last) {
      session.io.stderr.write(`ironflow-kv: ${printable(error.message)} Reconnecting.\n`);
    }
    last = error.message;
  };
}

function eventLine(session: Session, event: ChangeEvent, isKeysOnly: boolean): string {
  const time = session.paint(formatTime(event.createdAt), "dim");
  const operation = session.paint(event.type.padEnd(6), event.type === "put" ? "green" : "red");
  const count = event.superseded > 0 ? session.paint(`${event.superseded} superseded unseen\n`, "dim") : "";
  const head = `${count}${time}  ${operation}  ${String(event.revision).padStart(6)}  ${printable(event.key)}`;
  if (event.type !== "put" || isKeysOnly) return head;
  // The parts before the key are 37 characters wide.
  const room = session.output.isTerminal ? session.output.columns - 39 - event.key.length : 200;
  return `${head}  ${preview(event.value, room)}`;
}
