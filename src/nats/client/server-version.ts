/** The capabilities of a nats-server, by its version. */

/** The oldest supported version. */
export const OLDEST_SERVER_VERSION = "2.14.0";

/**
 * The oldest version that keeps acknowledged writes in a power failure (nats-server #8456, #8475), evicts by `max_msgs_per_subject`
 * without disabling writes (#8378) and accepts every valid atomic batch (#8377).
 */
export const RELIABLE_SERVER_VERSION = "2.15.1";

export interface ServerCapabilities {
  /** With `sync_interval: always`, an acknowledged write survives a power failure. */
  readonly keepsSyncedWrites: boolean;
  /** The server accepts every valid atomic batch, and syncs it once. */
  readonly atomicBatches: boolean;
}

const RELIABLE: ServerCapabilities = { keepsSyncedWrites: true, atomicBatches: true };
const OLD: ServerCapabilities = { keepsSyncedWrites: false, atomicBatches: false };

/** The version that was asked for last, and its capabilities. */
let last = { version: "", capabilities: OLD };

/** The capabilities of a version such as `2.15.1`. Check again after a reconnect: it may be another server. */
export function capabilitiesOf(version: string): ServerCapabilities {
  if (last.version !== version) last = { version, capabilities: isReliable(version) ? RELIABLE : OLD };
  return last.capabilities;
}

/** Whether the version is supported. */
export function isSupported(version: string): boolean {
  return isAtLeast(version, OLDEST_SERVER_VERSION);
}

/** Whether the version has none of the defects that {@link oldServerWarning} names. */
export function isReliable(version: string): boolean {
  return isAtLeast(version, RELIABLE_SERVER_VERSION);
}

/** The warning at each start with a server that is not reliable. `remedy`: a sentence that says how to get a newer one. */
export function oldServerWarning(version: string, remedy: string): string {
  return (
    `nats-server ${version} may lose acknowledged writes in a power failure, whatever DURABILITY is set to, and may refuse all writes to ` +
    `a bucket with history and expiring entries. Buckets report DURABILITY_RELAXED, and atomic batches are off. ${remedy}`
  );
}

/** Compares by semantic versioning: a pre-release is older than its version. */
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
