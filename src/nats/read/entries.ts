/** Reading single keys. */
import type { KvErrorDetails } from "../../kv/errors.js";
import { invalidArgument, KvError } from "../../kv/errors.js";
import { type BucketOwner, escapeKey, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Consistency } from "../../kv/reads.js";
import type { Entry } from "../../kv/entry.js";
import { keyNotFound } from "../client/errors.js";
import type { Expiry } from "../streams/expiry.js";
import type { MessageReader, Place, StoredMessage } from "../client/message-reader.js";
import type { ReadCache } from "./read-cache.js";
import { entryOfKey } from "../streams/records.js";

export interface EntriesOptions {
  readonly reader: MessageReader;
  readonly expiry: Expiry;
  /** Absent: every read asks the storage. */
  readonly cache?: ReadCache | undefined;
  /** Whose buckets these are. Default: users'. */
  readonly owner?: BucketOwner | undefined;
}

/** A key, checked, and where it is stored. */
export interface KeyPlace extends Place {
  readonly key: string;
  readonly subject: string;
}

/** Checks the names and says where the key is stored. Throws `invalid_argument`. */
export function placeOf(bucket: string, key: string, owner?: BucketOwner): KeyPlace {
  return {
    bucket,
    key,
    stream: streamName(bucket, owner),
    subject: subjectPrefix(bucket, owner) + escapeKey(key),
  };
}

export class Entries {
  constructor(private readonly options: EntriesOptions) {}

  async get(
    bucket: string,
    key: string,
    revision: bigint,
    context: CallContext,
    consistency: Consistency = "strong",
  ): Promise<Entry> {
    const place = placeOf(bucket, key, this.options.owner);
    const found =
      revision === 0n
        ? await this.newest(place, context, consistency)
        : await this.atRevision(place, revision, context, consistency);
    if (found === undefined) throw keyNotFound(bucket, key);
    if (!("key" in found)) {
      const expired = this.options.expiry.hasExpired(place, found, context);
      if (expired !== false && (await expired))
        throw revision === 0n ? keyNotFound(bucket, key) : compacted(place, revision);
    }
    const entry = "key" in found ? found : entryOfMessage(key, found);
    if (entry.operation !== "put") throw keyNotFound(bucket, key);
    return entry;
  }

  private newest(
    place: KeyPlace,
    context: CallContext,
    consistency: Consistency,
  ): Entry | Promise<Entry | StoredMessage | undefined> {
    const { cache, reader } = this.options;
    const read = (): Promise<StoredMessage | undefined> =>
      reader.newest(place, place.subject, context, consistency);
    return cache === undefined ? read() : cache.newest(place, context, read);
  }

  private async atRevision(
    place: KeyPlace,
    revision: bigint,
    context: CallContext,
    consistency: Consistency,
  ): Promise<StoredMessage | undefined> {
    if (revision < 0n) throw invalidArgument("The revision is negative.", aboutOf(place));
    const { reader } = this.options;
    let message = await reader.at(place, revision, context, consistency);
    if (message === undefined) {
      const newest = BigInt((await reader.stream(place, context)).state.last_seq);
      if (revision > newest) throw inFuture(place, revision, newest);
      // It may have been written between the two looks.
      message = await reader.at(place, revision, context);
      if (message === undefined) throw compacted(place, revision);
    }
    return message.subject === place.subject ? message : undefined;
  }
}

/** The entry that a stored message is. */
export function entryOfMessage(key: string, message: StoredMessage): Entry {
  return entryOfKey(key, {
    data: message.data,
    headers: message.headers,
    revision: message.sequence,
    timeMs: message.timeMs,
    timeNanos: message.timeNanos,
  });
}

function inFuture(place: KeyPlace, revision: bigint, newest: bigint): KvError {
  return new KvError(
    "revision_in_future",
    `The revision ${revision.toString()} has not been written; the bucket's newest is ${newest.toString()}.`,
    { ...aboutOf(place), revision: newest },
  );
}

function compacted(place: KeyPlace, revision: bigint): KvError {
  return new KvError(
    "revision_compacted",
    `The revision ${revision.toString()} is no longer kept.`,
    aboutOf(place),
  );
}

/** What an error about a key says of it. */
export function aboutOf(place: KeyPlace): KvErrorDetails {
  return { bucket: place.bucket, key: place.key };
}
