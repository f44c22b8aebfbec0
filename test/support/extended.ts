/**
 * Whether this run also covers what takes minutes: EXTENDED=1. `.ci/run` sets it for the files that have such a part; `npm test` does not.
 */
export const IS_EXTENDED = process.env.EXTENDED === "1";
