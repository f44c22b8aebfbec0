/** `import`: restores a backup, or some of its buckets. */
import type { Command } from "commander";
import { stat } from "node:fs/promises";
import { BackupImport } from "../backup/import.js";
import type { ImportTarget } from "../backup/import-target.js";
import type { Inspection } from "../backup/inspect.js";
import { isSalvageable } from "../backup/inspect.js";
import { Ledger } from "../backup/ledger.js";
import { readFrames } from "../backup/reader.js";
import { readBackup, readBackupFile } from "../backup/source.js";
import { startProgress } from "./progress.js";
import type { Session } from "./session.js";
import { shellWord, stopped, StoppedError } from "./stopped.js";
import { countOf } from "./text.js";
import { formatBytes } from "./units.js";
import { inspectWithProgress, salvageSentence } from "./verify-command.js";

export interface ImportFlags {
  readonly resume?: boolean;
  readonly intoExisting?: boolean;
  readonly skip: number;
  readonly salvage?: boolean;
}

export async function runImport(
  session: Session,
  command: Command,
  file: string,
  buckets: readonly string[],
  flags: ImportFlags,
): Promise<void> {
  const isStream = file === "-";
  const names = [...new Set(buckets)];
  if (isStream && flags.resume === true) command.error("error: --resume needs a file");
  if (flags.skip > 0 && (flags.intoExisting !== true || names.length !== 1)) {
    command.error("error: --skip requires --into-existing and exactly one bucket");
  }
  // Check the file before anything is written. Standard input can't be read twice.
  const inspection = isStream ? undefined : await checkedFile(session, file, flags);
  const progress = await startProgress(session, "import");
  const written = { entries: 0, bytes: 0 };
  const backup = new BackupImport(session.kv, {
    signal: session.signal,
    buckets: names,
    sections: inspection?.ledger.sections,
    isResumed: flags.resume ?? false,
    isIntoExisting: flags.intoExisting ?? false,
    isSalvage: flags.salvage ?? false,
    skip: flags.skip,
    onWritten(entries, bytes) {
      written.entries += entries;
      written.bytes += bytes;
    },
  });
  const size = isStream ? Infinity : (await stat(file)).size;
  let readBytes = 0;
  const options = {
    isTolerant: flags.salvage ?? false,
    onBytes(count: number) {
      readBytes += count;
      progress.update(
        Math.min(readBytes / size, 1),
        () => `${countOf(written.entries, "entry", "entries")}, ${formatBytes(written.bytes)}`,
      );
    },
  };
  const ledger = new Ledger();
  try {
    const chunks = isStream ? readBackup(session.io.stdin, options) : readBackupFile(file, options);
    await backup.run(readFrames(chunks, ledger), ledger);
  } catch (error) {
    progress.stop();
    if (backup.targets.length === 0) throw error;
    throw stopped(session, error, adviceOf(file, names, flags, backup.targets));
  }
  progress.stop();
  const sentence = `imported ${countOf(backup.targets.length, "bucket")}, ${countOf(written.entries, "entry", "entries")} with ${formatBytes(written.bytes)} of values`;
  await session.print(
    { buckets: backup.targets.map(targetJson), entries: written.entries, value_bytes: written.bytes },
    () => [...backup.targets.flatMap(noteOf), sentence],
  );
}

async function checkedFile(session: Session, file: string, flags: ImportFlags): Promise<Inspection> {
  const inspection = await inspectWithProgress(session, file);
  const { problem } = inspection;
  if (problem === undefined) return inspection;
  if (!isSalvageable(problem)) throw problem;
  if (flags.salvage !== true)
    throw new StoppedError(problem, `${problem.message} ${salvageSentence(inspection)}`);
  return inspection;
}

/** What was imported, and how to resume. */
function adviceOf(
  file: string,
  names: readonly string[],
  flags: ImportFlags,
  targets: readonly ImportTarget[],
): string {
  const done = targets.map(
    ({ name, state, entries }) =>
      `${name} ${state === "running" ? `has the first ${countOf(entries, "entry", "entries")}` : "is complete"}`,
  );
  const last = targets.at(-1);
  const shared = flags.intoExisting === true && last !== undefined;
  const again = ["ironflow-kv import", shellWord(file)];
  if (shared) again.push(last.name, "--into-existing", "--skip", String(last.entries));
  else again.push(...names, "--resume");
  const then = shared ? " and then import the remaining buckets" : "";
  const how = file === "-" ? "resume from a file, with --resume" : `resume with: ${again.join(" ")}${then}`;
  return `So far: ${done.join(", ")}; ${how}`;
}

function targetJson({ name, state, entries }: ImportTarget): object {
  return { name, state, entries };
}

function noteOf({ name, state, entries }: ImportTarget): string[] {
  if (state === "untouched") return [`${name} was already imported`];
  if (state === "part")
    return [`${name} has the first ${countOf(entries, "entry", "entries")}: the backup has no more`];
  return [];
}
