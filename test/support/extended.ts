/**
 * Whether this run also covers what takes minutes: EXTENDED=1. `.ci/run` sets it for the files that have such a part; `npm test` does not.
 */
export const IS_EXTENDED = process.env.EXTENDED === "1";

/** The runs of a property test. `npm test` makes a fifth of them. */
export function runs(count: number): number {
  return IS_EXTENDED ? count : Math.ceil(count / 5);
}

/** Of the cases of a table, those that `npm test` runs: the first ones. EXTENDED=1 runs all. */
export function unlessExtended<Case>(cases: readonly Case[], count: number): readonly Case[] {
  return IS_EXTENDED ? cases : cases.slice(0, count);
}

/** Like `IS_EXTENDED`, for a file that otherwise runs no test: prints why it is skipped. */
export function isExtendedFor(tests: string, reason: string): boolean {
  if (!IS_EXTENDED) console.log(`Skipped without EXTENDED=1: ${tests}. Reason: ${reason}.`);
  return IS_EXTENDED;
}
