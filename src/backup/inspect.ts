/** Reads a whole backup without a server: what it has, and whether it is whole. */
import { BackupError, type BackupProblem } from "./format.js";
import { Ledger } from "./ledger.js";
import { readFrames } from "./reader.js";
import { readBackup, readBackupFile, type SourceOptions } from "./source.js";

/** What a file has. `problem`: why it is no whole backup; the ledger then has what is good of it. */
export interface Inspection {
  readonly ledger: Ledger;
  readonly problem: BackupError | undefined;
}

/** Problems of a file that may still have something to save. */
const SALVAGEABLE: ReadonlySet<BackupProblem> = new Set<BackupProblem>(["cut", "damaged", "checksum"]);

/** Checks a file. Throws where it can't be read. */
export async function inspectFile(path: string, options: SourceOptions = {}): Promise<Inspection> {
  const strict = await inspect(readBackupFile(path, options));
  if (strict.problem === undefined || !isSalvageable(strict.problem)) return strict;
  // A decompressor that is to be strict keeps back what it has when it fails.
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
