/** `export`, `import`, `verify`. What they run is loaded when they do: `serve` starts without it. */
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
    .option("--gzip", "compress it (the default where the file's name ends in .gz)")
    .addOption(new Option("--resume", "go on with an export that was interrupted").conflicts("force"))
    .option("--force", "replace the file, or what an interrupted export left")
    .action((buckets: string[], flags: ExportFlags, command: Command) =>
      run(command, async (session) =>
        (await import("./export-command.js")).runExport(session, command, buckets, flags),
      ),
    );

  addClientOptions(
    program
      .command("import <file> [buckets...]")
      .description("write a backup, or these buckets of it, into the service; -: from standard input"),
  )
    .addOption(
      new Option("--resume", "go on with an import that was interrupted").conflicts(["intoExisting", "skip"]),
    )
    .option("--into-existing", "add to buckets that have entries; their settings stay")
    .addOption(
      new Option("--skip <count>", "pass over the first so many entries of the one bucket that is named")
        .argParser(parseCountOrZero)
        .default(0, "0"),
    )
    .option("--salvage", "take what there is of a backup that is cut off or damaged")
    .action((file: string, buckets: string[], flags: ImportFlags, command: Command) =>
      run(command, async (session) =>
        (await import("./import-command.js")).runImport(session, command, file, buckets, flags),
      ),
    );

  addClientOptions(
    program
      .command("verify <file>")
      .description("check a backup, without a server, and show what it has; -: from standard input"),
  ).action((file: string, _flags: unknown, command: Command) =>
    run(command, async (session) => (await import("./verify-command.js")).runVerify(session, file)),
  );
}

function parseCountOrZero(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It takes a whole number of 0 or more.");
  return Number(text);
}
