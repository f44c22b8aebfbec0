/** Reads the values of many keys at once. */
import { escapeKey, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Consistency } from "../../kv/reads.js";
import type { Entry } from "../../kv/entry.js";
import { SMALL_BYTES_MAX } from "../client/answer-sizes.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { type AcceptMessage, changeOf, DirectGap, directGetMessages, DirectRefused } from "./direct-get.js";
import { entryOfMessage } from "./entries.js";
import { FoundValues } from "./found-values.js";
import { StreamApi } from "./stream-api.js";
import { PASS_VALUES_MIN, ValuePasses } from "./value-pass.js";

/** A value to read: what the key index knows of it. */
export interface WantedValue {
  readonly key: string;
  readonly revision: number;
  /** When it was written. With the revision, it tells the value from one of a recreated bucket, which repeats revisions. */
  readonly timeMs: number;
  readonly valueBytes: number;
  /** See `KeyFacts`. */
  readonly detail: number;
}

export interface ReadOptions {
  readonly consistency?: Consistency;
  /** Whether to read values of the bucket's history too, that are not the newest of their keys any more. Default: false. */
  readonly seeksOlder?: boolean;
  /** The media type by `detail`, of an entry that has nothing else beside its value. Default: the messages' headers are read. */
  readonly contentTypeOf?: (detail: number) => string | undefined;
}

/** What was read. */
export interface ReadValues {
  /** Whether the value of this place among the wanted ones was found. If not, the storage does not have it any more. */
  has(place: number): boolean;
  /** The entry of that place, created for each call; undefined: it was not found. */
  entryAt(place: number): Entry | undefined;
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
  private readonly passes: ValuePasses;

  constructor(private readonly options: ValueReaderOptions) {
    this.passes = new ValuePasses(options.reader.isClustered);
  }

  /** Reads values, each key at most once. Throws `KvError` or `NoReplyError`. */
  async read(
    place: Place,
    wanted: readonly WantedValue[],
    context: CallContext,
    { consistency = "strong", seeksOlder = false, contentTypeOf = () => undefined }: ReadOptions = {},
  ): Promise<ReadValues> {
    const found = new FoundValues(wanted, contentTypeOf);
    if (wanted.length >= PASS_VALUES_MIN) {
      const api = this.apiOf(place, this.options.bulk);
      await this.passes.read({ api, subjectPrefix: subjectPrefix(place.bucket) }, found, context);
    }
    await Promise.all(
      chunksOf(found.notFound()).map((chunk) => this.readChunk(place, chunk, found, context)),
    );
    const missing = found.missing(seeksOlder);
    for (let at = 0; at < missing.length; at += SINGLE_READS_MAX) {
      const some = missing.slice(at, at + SINGLE_READS_MAX);
      await Promise.all(some.map((value) => this.readSingly(place, value, found, context, consistency)));
    }
    return found;
  }

  private apiOf({ bucket }: Place, requests: Requests): StreamApi {
    return new StreamApi(requests, bucket, streamName(bucket), this.options.storedMessageBytesMax);
  }

  /** A replica that lags behind may omit values: read these singly. */
  private async readChunk(
    place: Place,
    chunk: readonly WantedValue[],
    found: FoundValues,
    context: CallContext,
  ): Promise<void> {
    const { requests, bulk } = this.options;
    const expectedBytes = chunk.reduce((sum, value) => sum + bytesOf(value), 0);
    const api = this.apiOf(place, expectedBytes <= SMALL_BYTES_MAX ? requests : bulk);
    const prefix = subjectPrefix(place.bucket);
    const query = {
      multi_last: chunk.map(({ key }) => prefix + escapeKey(key)),
      batch: chunk.length,
      // Some may have become larger.
      max_bytes: expectedBytes + BYTES_MAX,
    };
    const accept: AcceptMessage = (message, sequence) => {
      if (found.acceptMessage(message, sequence)) return;
      const entry = changeOf(message, sequence, prefix).entry();
      if (entry !== undefined) found.add(entry);
    };
    try {
      await directGetMessages(api, query, () => accept, { context, expectedBytes });
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
