/** What a batch of keys has at the revision of the index, as far as the entries are known, and as much of it as fits into one response. */
import { escapeKey } from "../../kv/names.js";
import { entryJsonBytes, jsonBytes, PageRoom } from "../../kv/page-room.js";
import type { Entry } from "../../kv/entry.js";
import type { KeyBatch, KeyResult } from "../../kv/reads.js";
import { isSame } from "../read/found-values.js";
import type { WantedValue } from "../read/value-reader.js";
import type { BucketIndex } from "./bucket-index.js";
import type { KeyFacts } from "./key-leaf.js";
import { compacted } from "./past-states.js";

/** What was read already. */
export interface KnownStates {
  /** The entry that was read last, by key. */
  readonly values: Map<string, Entry>;
  /** By key that has changed after the requested revision: what it had then. */
  readonly past: Map<string, Entry | undefined>;
}

/** What a result takes in JSON beside its entry. */
const RESULT_FRAME_BYTES = 32;
/** What an entry that is not known yet takes in JSON beside its key and value. */
const ENTRY_BYTES = 512;
/** Keys of which the history is read at once: their entries' sizes are not known before. */
export const CHANGED_AT_ONCE = 4;

export class BatchSelection {
  /** Values to read, each once. */
  readonly missing: WantedValue[] = [];
  private readonly missingKeys = new Set<string>();
  /** Keys that have changed after the requested revision. */
  readonly changed: string[] = [];
  private readonly results: KeyResult[] = [];
  private readonly room: PageRoom;
  private readonly revision: number;

  /** `revision`: the requested one; undefined: the index's. */
  constructor(
    private readonly bucket: string,
    private readonly index: BucketIndex,
    private readonly keys: readonly string[],
    revision: number | undefined,
    private readonly known: KnownStates,
    bytesMax: number,
  ) {
    this.revision = revision ?? index.revision;
    // Every key is in the response once, in its result or as unread.
    const keyBytes = keys.reduce((sum, key) => sum + jsonBytes(key), 0);
    this.room = new PageRoom(keys.length, bytesMax - keyBytes);
    for (const key of keys) if (!this.select(key)) break;
  }

  /** The response; undefined: something is missing. */
  get batch(): KeyBatch | undefined {
    const { index, keys, results, missing, changed } = this;
    if (missing.length > 0 || changed.length > 0) return undefined;
    return {
      results,
      unreadKeys: keys.slice(results.length),
      revision: BigInt(this.revision),
      bucketCreatedAtMs: Date.parse(index.created),
    };
  }

  /** False: the response ends before this key, or what comes after it is not known yet. Throws `revision_compacted`. */
  private select(key: string): boolean {
    const { index, revision, known } = this;
    if (known.past.has(key)) return this.take(key, known.past.get(key));
    const facts = index.keys.get(Buffer.from(key));
    if (facts !== undefined && facts.revision <= revision) return this.takeValue(key, facts);
    if (facts === undefined && this.isWithoutValue(key)) return this.take(key, undefined);
    if (facts === undefined && index.state.hasExpired(escapeKey(key)))
      throw compacted(this.bucket, key, revision);
    this.changed.push(key);
    return this.changed.length < CHANGED_AT_ONCE;
  }

  /** Whether a key that has no value now had none at the revision. */
  private isWithoutValue(key: string): boolean {
    const { index, revision } = this;
    if (revision >= index.revision) return true;
    const tombstone = index.state.tombstoneOf(escapeKey(key));
    return tombstone > 0 && tombstone <= revision;
  }

  private takeValue(key: string, facts: KeyFacts): boolean {
    const { known, index, room, missing } = this;
    let entry = known.values.get(key);
    if (entry === undefined || !isSame(entry, facts)) {
      entry = index.recent(facts.revision)?.entry();
      if (entry?.key !== key || !isSame(entry, facts)) {
        const estimate = RESULT_FRAME_BYTES + ENTRY_BYTES + 2 * key.length + 2 * facts.valueBytes;
        if (!room.take(estimate)) return false;
        if (!this.missingKeys.has(key)) missing.push({ key, ...facts });
        this.missingKeys.add(key);
        return true;
      }
      known.values.set(key, entry);
    }
    return this.take(key, entry);
  }

  private take(key: string, entry: Entry | undefined): boolean {
    const bytes = RESULT_FRAME_BYTES + (entry === undefined ? 0 : entryJsonBytes(entry));
    if (!this.room.take(bytes)) return false;
    this.results.push({ key, entry });
    return true;
  }
}
