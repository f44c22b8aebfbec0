/** What a nats-server can do, by its version. The one place that knows. */

/** The oldest that the service runs on. */
export const OLDEST_SERVER_VERSION = "2.14.0";

/**
 * The oldest that keeps acknowledged writes at a power failure (nats-server #8456, #8475), evicts by `max_msgs_per_subject` safely (#8378)
 * and accepts every valid atomic batch (#8377).
 */
export const RELIABLE_SERVER_VERSION = "2.15.1";

export interface ServerCapabilities {
  /** With `sync_interval: always`, an acknowledged write survives a power failure. */
  readonly keepsSyncedWrites: boolean;
  /** Atomic batches can be used: the server accepts every valid one, and syncs it once. */
  readonly atomicBatches: boolean;
}

const RELIABLE: ServerCapabilities = { keepsSyncedWrites: true, atomicBatches: true };
const OLD: ServerCapabilities = { keepsSyncedWrites: false, atomicBatches: false };

/** Of a version such as `2.15.1`. A connection may meet another version after it reconnects: ask again then. */
export function capabilitiesOf(version: string): ServerCapabilities {
  return isReliable(version) ? RELIABLE : OLD;
}

/** Whether the service runs on a server of this version. */
export function isSupported(version: string): boolean {
  return isAtLeast(version, OLDEST_SERVER_VERSION);
}

/** Whether a server of this version needs no warning. */
export function isReliable(version: string): boolean {
  return isAtLeast(version, RELIABLE_SERVER_VERSION);
}

/** What to say at each start on a server that is not reliable. `remedy`: how to get a newer one; the rest of a sentence. */
export function oldServerWarning(version: string, remedy: string): string {
  return (
    `nats-server ${version} may lose acknowledged writes at a power failure, whatever DURABILITY is, and may refuse all writes of a ` +
    `bucket with history whose entries expire: buckets report DURABILITY_RELAXED and atomic batches are off. ${remedy}`
  );
}

/** Orders versions as semantic versioning does: a pre-release of a version is older than the version. */
export function isAtLeast(version: string, oldest: string): boolean {
  const found = /^v?(\d+)\.(\d+)(?:\.(\d+))?(-)?/.exec(version);
  if (found === null) return false;
  const numbers = [found[1], found[2], found[3] ?? "0"].map(Number);
  const wanted = oldest.split(".").map(Number);
  for (const [index, number] of numbers.entries()) {
    const least = wanted[index] ?? 0;
    if (number !== least) return number > least;
  }
  return found[4] === undefined;
}
