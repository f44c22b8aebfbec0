/** Which nats-server will do. */

/** The oldest that has per-message TTLs, delete markers and multi-message direct gets (nats-server 2.11). */
export const OLDEST_SERVER_VERSION = "2.11";

/** Whether a version, such as `2.14.0` or `v2.12.0-beta.1`, is new enough. */
export function isNewEnough(version: string): boolean {
  const [major, minor] = numbersOf(version);
  const [oldestMajor, oldestMinor] = numbersOf(OLDEST_SERVER_VERSION);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

function numbersOf(version: string): readonly [number, number] {
  const found = /(\d+)\.(\d+)/.exec(version);
  return found === null ? [0, 0] : [Number(found[1]), Number(found[2])];
}
