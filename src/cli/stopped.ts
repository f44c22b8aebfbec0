/** A run that stopped on its way, and how to go on. */
import type { Session } from "./session.js";
import { printable } from "./text.js";

/** Ends as what stopped it does, with more to say. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
  constructor(
    override readonly cause: unknown,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** What to throw for a run that stopped. Ctrl-C ends a command without a word of its own, so that the advice is given here. */
export function stopped(session: Session, error: unknown, advice: string): unknown {
  if (session.signal.aborted) {
    session.io.stderr.write(`ironflow-kv: ${printable(`Interrupted. ${advice}`)}\n`);
    return error;
  }
  const sentence = error instanceof Error ? error.message : String(error);
  return new StoppedError(error, `${sentence} ${advice}`);
}

/** A word for a command line of a shell. */
export function shellWord(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
