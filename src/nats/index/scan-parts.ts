/** The entries of a scan, as its parts have them. */
import type { Entry } from "../../kv/entry.js";
import type { ScanPart } from "../../kv/reads.js";
import type { ReadValues } from "../read/value-reader.js";
import type { WalkedKey } from "./key-walk.js";

/** Entries of one message. */
const MESSAGE_ENTRIES = 512;
/** Values of one message, unless a single value is larger: below the 4 MiB that gRPC clients accept. */
const MESSAGE_BYTES = 262_144;
const NO_BYTES = new Uint8Array(0);

/** Entries that are created when they are asked for: those of one message live only until it is encoded. */
export interface EntryList {
  readonly length: number;
  /** Undefined: the key has expired. */
  at(place: number): Entry | undefined;
}

/** Entries of which only the key index was asked. */
export class KeysAlone implements EntryList {
  constructor(private readonly keys: readonly WalkedKey[]) {}

  get length(): number {
    return this.keys.length;
  }

  at(place: number): Entry {
    const { key, revision, timeMs } = this.keys[place] as WalkedKey;
    return {
      ...{ key, value: NO_BYTES, revision: BigInt(revision), createdAtMs: timeMs, createdAtNanos: 0 },
      ...{ operation: "put", contentType: "" },
    };
  }
}

/** Entries in memory, and between them those that were read. */
export class ReadEntries implements EntryList {
  /** By place: the place among the values that were read, if some were in memory. */
  private readonly readPlaces: Uint32Array | undefined;

  constructor(
    private readonly inMemory: readonly (Entry | undefined)[],
    private readonly read: ReadValues,
    readCount: number,
  ) {
    if (readCount === inMemory.length) return;
    this.readPlaces = new Uint32Array(inMemory.length);
    let next = 0;
    for (let place = 0; place < inMemory.length; place++)
      if (inMemory[place] === undefined) this.readPlaces[place] = next++;
  }

  get length(): number {
    return this.inMemory.length;
  }

  at(place: number): Entry | undefined {
    return this.inMemory[place] ?? this.read.entryAt(this.readPlaces?.[place] ?? place);
  }
}

export function* partsOf(entries: EntryList, revision: bigint): Generator<ScanPart, undefined> {
  let current: Entry[] = [];
  let bytes = 0;
  for (let place = 0; place < entries.length; place++) {
    const entry = entries.at(place);
    if (entry === undefined) continue;
    const isFull = current.length === MESSAGE_ENTRIES || bytes + entry.value.length > MESSAGE_BYTES;
    if (isFull && current.length > 0) {
      yield { entries: current, revision };
      current = [];
      bytes = 0;
    }
    current.push(entry);
    bytes += entry.value.length;
  }
  if (current.length > 0) yield { entries: current, revision };
}
