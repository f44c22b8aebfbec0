/** Checks a backup without a server: its contents, and whether it is complete and intact. */
import { BackupError, type BackupProblem } from "./format.js";
import { Ledger } from "./ledger.js";
import { readFrames } from "./reader.js";
import { readBackup, readBackupFile, type SourceOptions } from "./source.js";

/** The contents of a backup. `problem`: why it is not intact; the ledger then describes the intact part. */
export interface Inspection {
  readonly ledger: Ledger;
  readonly problem: BackupError | undefined;
}

/** Problems after which part of the file may still be restored. */
const SALVAGEABLE: ReadonlySet<BackupProblem> = new Set<BackupProblem>(["truncated", "damaged", "checksum"]);

/** Checks a file. Throws if the file can't be read. */
export async function inspectFile(path: string, options: SourceOptions = {}): Promise<Inspection> {
  const strict = await inspect(readBackupFile(path, options));
  if (strict.problem === undefined || !isSalvageable(strict.problem)) return strict;
  // A strict decompressor discards its last output on failure; a second, tolerant pass finds the intact part.
  const { ledger } = await inspect(readBackupFile(path, { ...options, isTolerant: true }));
  return { ledger, problem: strict.problem };
}

/** Checks a stream, such as standard input. */
export function inspectStream(
  input: AsyncIterable<Uint8Array>,
  options: SourceOptions = {},
): Promise<Inspection> {
  return inspect(readBackup(input, options));
}

export function isSalvageable(problem: BackupError): boolean {
  return SALVAGEABLE.has(problem.problem);
}

async function inspect(chunks: AsyncIterable<Uint8Array>): Promise<Inspection> {
  const ledger = new Ledger();
  try {
    const frames = readFrames(chunks, ledger);
    while ((await frames.next()).done !== true);
    return { ledger, problem: undefined };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { ledger, problem: error };
  }
}
