/** The entries of a scan, as its parts have them. */
import type { Entry } from "../../kv/entry.js";
import type { ScanPart } from "../../kv/reads.js";
import type { WalkedKey } from "./key-walk.js";

/** Entries of one message. */
const MESSAGE_ENTRIES = 512;
/** Values of one message, unless a single value is larger: below the 4 MiB that gRPC clients accept. */
const MESSAGE_BYTES = 262_144;
const NO_BYTES = new Uint8Array(0);

export function isPresent(entry: Entry | undefined): entry is Entry {
  return entry !== undefined;
}

/** An entry of which only the key index was asked. */
export function keyAlone({ key, revision, timeMs }: WalkedKey): Entry {
  return {
    ...{ key, value: NO_BYTES, revision: BigInt(revision), createdAtMs: timeMs, createdAtNanos: 0 },
    ...{ operation: "put", contentType: "" },
  };
}

export function partsOf(entries: readonly Entry[], revision: bigint): ScanPart[] {
  const parts: ScanPart[] = [];
  let current: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const isFull = current.length === MESSAGE_ENTRIES || bytes + entry.value.length > MESSAGE_BYTES;
    if (isFull && current.length > 0) {
      parts.push({ entries: current, revision });
      current = [];
      bytes = 0;
    }
    current.push(entry);
    bytes += entry.value.length;
  }
  if (current.length > 0) parts.push({ entries: current, revision });
  return parts;
}
