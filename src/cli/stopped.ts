/** Errors of a run that stopped midway, with advice on how to resume it. */
import type { Session } from "./session.js";
import { printable } from "./text.js";

/** Exits with the code of its cause, but prints its own sentence. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
  constructor(
    override readonly cause: unknown,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** The error to throw for a run that stopped. Ctrl-C ends a command without an error message; the advice is printed here. */
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
