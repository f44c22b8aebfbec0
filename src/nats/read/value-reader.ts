/** Reads the values of many keys at once. */
import { escapeKey, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Consistency } from "../../kv/reads.js";
import type { Entry } from "../../kv/entry.js";
import { SMALL_BYTES_MAX } from "../client/answer-sizes.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { DirectGap, directGet, DirectRefused } from "./direct-get.js";
import { entryOfMessage } from "./entries.js";
import { StreamApi } from "./stream-api.js";
import { isDense, PASS_VALUES_MIN, readInPasses } from "./value-pass.js";

/** A value to read: what the key index knows of it. */
export interface WantedValue {
  readonly key: string;
  readonly revision: number;
  /** When it was written. With the revision, it tells the value from one of a recreated bucket, which repeats revisions. */
  readonly timeMs: number;
  readonly valueBytes: number;
}

export interface ReadOptions {
  readonly consistency?: Consistency;
  /** Whether to read values of the bucket's history too, that are not the newest of their keys any more. Default: false. */
  readonly seeksOlder?: boolean;
}

/** What was read. */
export interface ReadValues {
  /** By key. Those that the storage does not have any more are missing. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** The highest revision that was seen: later than what was wanted of a key that has been written since. */
  readonly newest: number;
}

export interface ValueReaderOptions {
  /** For small answers. */
  readonly requests: Requests;
  /** For the others. */
  readonly bulk: Requests;
  readonly reader: MessageReader;
  readonly storedMessageBytesMax: number;
}

/** Keys of one request: the server answers for at most 1,024. */
const KEYS_MAX = 512;
/** Values of one request: no more than one turn of the event loop handles. */
const BYTES_MAX = 262_144;
/** Key bytes of one request: with JSON and escapes, it stays well below the server's `max_payload`. */
const KEY_BYTES_MAX = 131_072;
/** What a message takes beside its value and key. */
const MESSAGE_BYTES = 320;
/** Concurrent single reads, of values that a request for several did not return. */
const SINGLE_READS_MAX = 16;

export class ValueReader {
  constructor(private readonly options: ValueReaderOptions) {}

  /** Reads values. Throws `KvError` or `NoReplyError`. */
  async read(
    place: Place,
    wanted: readonly WantedValue[],
    context: CallContext,
    { consistency = "strong", seeksOlder = false }: ReadOptions = {},
  ): Promise<ReadValues> {
    const found = new FoundValues(wanted);
    if (wanted.length >= PASS_VALUES_MIN) await this.readByPass(place, wanted, found, context);
    const rest = found.entries.size === 0 ? wanted : wanted.filter(({ key }) => !found.entries.has(key));
    await Promise.all(chunksOf(rest).map((chunk) => this.readChunk(place, chunk, found, context)));
    const missing = wanted.filter((value) => found.isMissing(value, seeksOlder));
    for (let at = 0; at < missing.length; at += SINGLE_READS_MAX) {
      const some = missing.slice(at, at + SINGLE_READS_MAX);
      await Promise.all(some.map((value) => this.readSingly(place, value, found, context, consistency)));
    }
    return found;
  }

  /** Reads in a pass over a part of the stream, if that costs less than asking for each key. May leave values for direct gets. */
  private async readByPass(
    place: Place,
    wanted: readonly WantedValue[],
    found: FoundValues,
    context: CallContext,
  ): Promise<void> {
    const { bulk, storedMessageBytesMax } = this.options;
    const api = new StreamApi(bulk, place.bucket, streamName(place.bucket), storedMessageBytesMax);
    const isWorthwhile = await isDense(wanted, async () => (await api.state()).messages);
    const prefix = subjectPrefix(place.bucket);
    if (isWorthwhile)
      await readInPasses(api, prefix, wanted, (value, entry) => found.accept(value, entry), context);
  }

  /** A replica that lags behind may omit values: read these singly. */
  private async readChunk(
    place: Place,
    chunk: readonly WantedValue[],
    found: FoundValues,
    context: CallContext,
  ): Promise<void> {
    const { requests, bulk, storedMessageBytesMax } = this.options;
    const expectedBytes = chunk.reduce((sum, value) => sum + bytesOf(value), 0);
    const isSmall = expectedBytes <= SMALL_BYTES_MAX;
    const api = new StreamApi(
      isSmall ? requests : bulk,
      place.bucket,
      streamName(place.bucket),
      storedMessageBytesMax,
    );
    const prefix = subjectPrefix(place.bucket);
    const query = {
      multi_last: chunk.map(({ key }) => prefix + escapeKey(key)),
      batch: chunk.length,
      // Some may have become larger.
      max_bytes: expectedBytes + BYTES_MAX,
    };
    try {
      const { changes } = await directGet(api, prefix, query, { context, expectedBytes });
      for (const change of changes) {
        const entry = change.entry();
        if (entry !== undefined) found.add(entry);
      }
    } catch (error) {
      if (!(error instanceof DirectRefused || error instanceof DirectGap)) throw error;
    }
  }

  private async readSingly(
    place: Place,
    { key, revision }: WantedValue,
    found: FoundValues,
    context: CallContext,
    consistency: Consistency,
  ): Promise<void> {
    const message = await this.options.reader.at(place, BigInt(revision), context, consistency);
    const subject = subjectPrefix(place.bucket) + escapeKey(key);
    if (message?.subject === subject) found.add(entryOfMessage(key, message));
  }
}

class FoundValues implements ReadValues {
  readonly entries = new Map<string, Entry>();
  newest = 0;
  private byKey: ReadonlyMap<string, WantedValue> | undefined;
  private readonly overwritten = new Set<string>();

  constructor(private readonly wanted: readonly WantedValue[]) {}

  /** Adds the entry that a wanted value is. */
  accept({ key, revision }: WantedValue, entry: Entry): void {
    if (revision > this.newest) this.newest = revision;
    this.entries.set(key, entry);
  }

  add(entry: Entry): void {
    const { key } = entry;
    const revision = Number(entry.revision);
    this.byKey ??= new Map(this.wanted.map((value) => [value.key, value]));
    const wanted = this.byKey.get(key);
    if (wanted === undefined) return;
    if (revision > this.newest) this.newest = revision;
    if (isSame(entry, wanted)) this.entries.set(key, entry);
    else if (revision > wanted.revision) this.overwritten.add(key);
  }

  /** Whether it was not found, and may still be stored. `seeksOlder`: also where a later one of its key was found. */
  isMissing({ key }: WantedValue, seeksOlder: boolean): boolean {
    return !this.entries.has(key) && (seeksOlder || !this.overwritten.has(key));
  }
}

/** Whether an entry is the value that the index knows. */
export function isSame(
  entry: Entry,
  { revision, timeMs }: Pick<WantedValue, "revision" | "timeMs">,
): boolean {
  return Number(entry.revision) === revision && entry.createdAtMs === timeMs;
}

function bytesOf({ key, valueBytes }: WantedValue): number {
  return MESSAGE_BYTES + 2 * key.length + valueBytes;
}

function chunksOf(wanted: readonly WantedValue[]): WantedValue[][] {
  const chunks: WantedValue[][] = [];
  let current: WantedValue[] = [];
  let [bytes, keyBytes] = [0, 0];
  for (const value of wanted) {
    const isFull = bytes + bytesOf(value) > BYTES_MAX || keyBytes + value.key.length > KEY_BYTES_MAX;
    if (current.length > 0 && (isFull || current.length === KEYS_MAX)) {
      chunks.push(current);
      current = [];
      [bytes, keyBytes] = [0, 0];
    }
    current.push(value);
    bytes += bytesOf(value);
    keyBytes += value.key.length;
  }
  if (current.length > 0) chunks.push(current);
  return chunks;
}
