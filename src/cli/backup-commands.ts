/** `export`, `import`, `verify`. Their code is loaded on demand, which keeps it out of `serve`. */
import { Command, InvalidArgumentError, Option } from "commander";
import type { RunVerb } from "./bucket-commands.js";
import type { ExportFlags } from "./export-command.js";
import type { ImportFlags } from "./import-command.js";
import { addClientOptions } from "./session.js";

export function addBackupCommands(program: Command, run: RunVerb): void {
  addClientOptions(
    program.command("export [buckets...]").description("write buckets (all of them by default) to a backup"),
  )
    .requiredOption("-o, --output <file>", "the file to write; -: standard output")
    .option("--gzip", "compress the backup (default if the file name ends in .gz)")
    .addOption(new Option("--resume", "resume an interrupted export").conflicts("force"))
    .option("--force", "replace the file, or discard an interrupted export")
    .action((buckets: string[], flags: ExportFlags, command: Command) =>
      run(command, async (session) =>
        (await import("./export-command.js")).runExport(session, command, buckets, flags),
      ),
    );

  addClientOptions(
    program
      .command("import <file> [buckets...]")
      .description("restore a backup, or only these buckets of it; -: from standard input"),
  )
    .addOption(new Option("--resume", "resume an interrupted import").conflicts(["intoExisting", "skip"]))
    .option("--into-existing", "add to buckets that already have entries; keep their settings")
    .addOption(
      new Option("--skip <count>", "skip this many entries of the one bucket that is named")
        .argParser(parseCountOrZero)
        .default(0, "0"),
    )
    .option("--salvage", "restore the intact part of a truncated or damaged backup")
    .action((file: string, buckets: string[], flags: ImportFlags, command: Command) =>
      run(command, async (session) =>
        (await import("./import-command.js")).runImport(session, command, file, buckets, flags),
      ),
    );

  addClientOptions(
    program
      .command("verify <file>")
      .description("check a backup without a server and list its contents; -: from standard input"),
  ).action((file: string, _flags: unknown, command: Command) =>
    run(command, async (session) => (await import("./verify-command.js")).runVerify(session, file)),
  );
}

function parseCountOrZero(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("Expected an integer of 0 or more.");
  return Number(text);
}
