/**
 * Whether this run also covers what takes minutes: EXTENDED=1. `.ci/run` sets it for the files that have such a part; `npm test` does not.
 */
export const IS_EXTENDED = process.env.EXTENDED === "1";

/** Like `IS_EXTENDED`, for a file that otherwise runs no test: prints why it is skipped. */
export function isExtendedFor(tests: string, reason: string): boolean {
  if (!IS_EXTENDED) console.log(`Skipped without EXTENDED=1: ${tests}. Reason: ${reason}.`);
  return IS_EXTENDED;
}
