/** The exit codes of the client commands, as `--help` lists them. Scripts rely on them: a code never changes its meaning. */
import { CommanderError } from "commander";
import { BackupRefusedError } from "../backup/refused.js";
import { KvError } from "@ironflow-kv/client";
import type { KvErrorCode } from "@ironflow-kv/client";
import { OutputClosedError } from "./io.js";
import { ProgramExitError } from "./lock-command.js";
import { StoppedError } from "./stopped.js";

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unavailable: 5,
  auth: 6,
  limit: 7,
  unknownOutcome: 8,
  /** The exit code that shells report for a program ended by Ctrl-C. */
  interrupted: 130,
} as const;

/** For `--help`. */
export const EXIT_CODES_HELP = `
Exit codes:
  0  success
  1  any other failure, or not confirmed
  2  usage error: an unknown option, or a malformed name, key, filter or number
  3  not found: the bucket, the key or the revision
  4  conflict: it already exists, or has another revision; for export and import, the file or bucket is in the wrong state
  5  the service can't be reached, or did not respond in time
  6  the API key is missing or invalid, or does not allow the call
  7  a limit was reached: the value is too large, the bucket is full, or too many calls
  8  a write was sent and its outcome is unknown: read before you retry`;

const EXIT_BY_CODE: Readonly<Partial<Record<KvErrorCode, number>>> = {
  invalid_argument: EXIT.usage,
  not_found: EXIT.notFound,
  out_of_range: EXIT.notFound,
  already_exists: EXIT.conflict,
  aborted: EXIT.conflict,
  unavailable: EXIT.unavailable,
  deadline_exceeded: EXIT.unavailable,
  unauthenticated: EXIT.auth,
  permission_denied: EXIT.auth,
  resource_exhausted: EXIT.limit,
  unknown: EXIT.unknownOutcome,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof ProgramExitError) return error.exitCode;
  if (error instanceof StoppedError) return exitCodeOf(error.cause);
  if (error instanceof BackupRefusedError) return EXIT.conflict;
  if (error instanceof KvError) return EXIT_BY_CODE[error.code] ?? EXIT.failed;
  if (error instanceof OutputClosedError) return EXIT.ok;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  return EXIT.failed;
}
