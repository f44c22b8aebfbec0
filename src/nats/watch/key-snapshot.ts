/**
 * A snapshot without values, from the key index: every key that is live at one revision, in the order of revisions. Only entries that have more
 * than a media type are read from the stream.
 */
import type { Filter } from "../../kv/filter.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Entry } from "../../kv/entry.js";
import type { Place } from "../client/message-reader.js";
import type { BucketIndex } from "../index/bucket-index.js";
import type { BucketIndexes } from "../index/bucket-indexes.js";
import type { KeyDetails } from "../index/key-details.js";
import type { KeyFacts, KeyLeaf } from "../index/key-leaf.js";
import { rangesOf } from "../index/key-ranges.js";
import { inRevisionOrder } from "../index/revision-order.js";
import { withoutValue } from "../read/delivery.js";
import type { ValueReader, WantedValue } from "../read/value-reader.js";

/** Values that are read at once, of entries that only their messages have. */
const STORED_BYTES = 262_144;
const NO_BYTES = new Uint8Array(0);

/** Takes snapshots of the buckets' indexes. */
export class KeySnapshots {
  constructor(
    private readonly indexes: BucketIndexes,
    private readonly values: ValueReader,
  ) {}

  /** A snapshot of the present keys that match; undefined: the bucket's keys do not fit into memory. Throws `KvError`. */
  async take(
    place: Place,
    filters: readonly Filter[],
    context: CallContext,
  ): Promise<KeySnapshotReader | undefined> {
    const index = await this.indexes.whole(place, context);
    if (index === undefined) return undefined;
    const reader = new KeySnapshotReader(place, this.values, index);
    await reader.sort(filters);
    return reader;
  }
}

export class KeySnapshotReader {
  readonly revision: number;
  readonly created: string;
  private readonly view;
  private readonly details: KeyDetails;
  private readonly nowMs: number;
  private readonly leaves: readonly KeyLeaf[];
  /** By leaf: the keys before it. */
  private readonly before: readonly number[];
  private order: Uint32Array = new Uint32Array(0);
  private next = 0;

  constructor(
    private readonly place: Place,
    private readonly values: ValueReader,
    index: BucketIndex,
  ) {
    this.revision = index.revision;
    this.created = index.created;
    this.details = index.state.details;
    this.nowMs = index.nowMs;
    this.view = index.keys.snapshot();
    ({ leaves: this.leaves, before: this.before } = this.view.leaves());
  }

  get isDone(): boolean {
    return this.next === this.order.length;
  }

  async sort(filters: readonly Filter[]): Promise<void> {
    this.order = await inRevisionOrder(this.view, rangesOf(filters), filters);
  }

  /** Goes on after a revision. */
  seek(after: number): void {
    let [low, high] = [0, this.order.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { facts } = this.keyAt(this.order[middle] as number);
      if (facts.revision <= after) low = middle + 1;
      else high = middle;
    }
    this.next = low;
  }

  /** The next entries: at most so many, and no more than are known without a read, unless the first of them needs one. */
  async read(max: number, context: CallContext): Promise<readonly Entry[]> {
    const entries: Entry[] = [];
    while (!this.isDone && entries.length < max) {
      const { key, facts } = this.keyAt(this.order[this.next] as number);
      const contentType = this.details.contentTypeOf(facts.detail);
      if (contentType === undefined) {
        if (entries.length === 0) return this.readStored(max, context);
        break;
      }
      this.next++;
      if (facts.expiresAtMs > this.nowMs) entries.push(this.entryOf(key, facts, contentType));
    }
    return entries;
  }

  /** Entries whose messages must be read. Of one that was replaced, only what the index knows is left: its change follows the snapshot. */
  private async readStored(max: number, context: CallContext): Promise<readonly Entry[]> {
    const wanted: (WantedValue & { readonly facts: KeyFacts })[] = [];
    let bytes = 0;
    while (!this.isDone && wanted.length < max && bytes < STORED_BYTES) {
      const { key, facts } = this.keyAt(this.order[this.next] as number);
      if (this.details.contentTypeOf(facts.detail) !== undefined) break;
      this.next++;
      bytes += facts.valueBytes;
      if (facts.expiresAtMs > this.nowMs) wanted.push({ key, facts, ...facts });
    }
    const read = await this.values.read(this.place, wanted, context, { seeksOlder: true });
    return wanted.map(({ key, facts }, place) => {
      const entry = read.entryAt(place);
      return entry === undefined ? this.entryOf(key, facts, "") : withoutValue(entry);
    });
  }

  private entryOf(key: string, { revision, timeMs, detail }: KeyFacts, contentType: string): Entry {
    return {
      ...{ key, value: NO_BYTES, revision: BigInt(revision), createdAtMs: timeMs },
      ...{ createdAtNanos: this.details.nanosOf(detail), operation: "put", contentType },
      ...{ expiresAtMs: undefined, metadata: undefined },
    };
  }

  private keyAt(place: number): { readonly key: string; readonly facts: KeyFacts } {
    const { before } = this;
    let [low, high] = [0, before.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((before[middle] as number) <= place) low = middle;
      else high = middle;
    }
    const leaf = this.leaves[low] as KeyLeaf;
    const position = place - (before[low] as number);
    return { key: leaf.keyAt(position), facts: leaf.factsAt(position) };
  }
}
