/** Errors of a command that stopped midway, with advice on how to resume it. */
import type { Session } from "./session.js";
import { printable } from "./text.js";

/** An error with its own message and the exit code of its cause. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
  constructor(
    override readonly cause: unknown,
    message: string,
  ) {
    super(message);
  }
}

/** The error to throw for a command that stopped. After Ctrl-C, which ends a command without an error message, prints the advice. */
export function stopped(session: Session, error: unknown, advice: string): unknown {
  if (session.signal.aborted) {
    session.io.stderr.write(`ironflow-kv: ${printable(`Interrupted. ${advice}`)}\n`);
    return error;
  }
  const sentence = error instanceof Error ? error.message : String(error);
  return new StoppedError(error, `${sentence} ${advice}`);
}

/** Quotes a word for a shell command line. */
export function shellWord(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
