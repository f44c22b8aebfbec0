/**
 * Enforces `max_bytes` for values; the storage's own limit is higher (headroom.ts).
 *
 * Far from the limit the bytes are known from the bucket's remembered facts and what this process wrote since: no request. Near it they are
 * read again, once for all writes that wait. So one copy of the service never goes past the limit. Several copies go past it by what the
 * others have in flight, or write before one reads again: each takes at most a quarter of what was free before it does. Other programs are
 * only held by the storage. In no case is it more than the headroom.
 */
import { KvError } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { CachedBucket, BucketConfigCache } from "../streams/bucket-config-cache.js";
import type { ByteLimits } from "../buckets/byte-limits.js";
import type { Compaction } from "../buckets/compaction.js";
import { aboutOf, type KeyPlace } from "../read/entries.js";
import { METADATA_HEADER } from "../streams/metadata.js";
import { outcomeUnknown, toKvError } from "../client/errors.js";
import { purgeStream, readJetStream, type StreamInfo } from "../client/jetstream-api.js";
import type { MessageReader, Place, StoredMessage } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { NoReplyError } from "../client/no-reply.js";

export interface BucketQuotaOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly facts: BucketConfigCache;
  /** Absent where buckets have no limit, as is `byteLimits`. */
  readonly compaction?: Compaction | undefined;
  readonly byteLimits?: ByteLimits | undefined;
}

/** At this distance from the limit, each write reads the used bytes first. */
const MARGIN_FRACTION = 0.125;
const MARGIN_BYTES_MAX = 16 * 1_048_576;
/** What a copy leaves of the free bytes before it reads them again: others may take as much meanwhile. */
const LEFT_FRACTION = 0.75;
/** What a record takes in a file beside subject, headers and value (nats-server, `fileStoreMsgSizeRaw`). */
const RECORD_BYTES = 34;
/** Headers of a put without a condition or an idempotency key: the version line and a message id. */
const HEADER_BYTES = 50;
/** Headers of a message in a batch (group-commit.ts). Near the limit there are no batches. */
const BATCH_HEADER_BYTES = 80;
/** A header line besides its name and value: colon, space, line end. */
const HEADER_FRAME_BYTES = 4;
const NOTHING_TO_RELEASE = (): void => undefined;
const FULL: ReadonlySet<string> = new Set(["bucket_full", "storage_exhausted"]);

export class BucketQuota {
  private readonly reads = new Map<string, Promise<CachedBucket>>();
  /** By subject: ends with a write under way that may be admitted for what it pushes out of a full history. */
  private readonly replacing = new Map<string, Promise<void>>();

  constructor(private readonly options: BucketQuotaOptions) {}

  /**
   * Admits a value. Returns what is to be called when the outcome of its write is known. Throws `bucket_full`. `mayWait`: whether it may
   * wait for the outcome of another write of the key; false for who admits several before they are sent. A promise only near the limit.
   */
  admit(
    place: Place,
    subject: string,
    /** Of the value and its metadata. */
    valueBytes: number,
    facts: CachedBucket,
    context: CallContext,
    mayWait = true,
  ): (() => void) | Promise<() => void> {
    if (facts.maxBytes === 0) return NOTHING_TO_RELEASE;
    const bytes = RECORD_BYTES + HEADER_BYTES + subject.length + valueBytes;
    const withBatch = bytes + BATCH_HEADER_BYTES;
    if (this.take(facts, withBatch, withBatch + marginOf(facts))) return () => settle(facts, withBatch);
    return this.admitNearLimit(place, subject, bytes, context, mayWait);
  }

  /**
   * Runs a delete or a purge. Where the storage has no room for its tombstone, room is made: by compaction, by a higher limit, and for a
   * purge by removing the key's revisions below `purged`, its newest, so that a purge whose second half never comes leaves the value as
   * it was.
   */
  async duringDelete<Result>(
    place: KeyPlace,
    purged: bigint | undefined,
    context: CallContext,
    write: () => Promise<Result>,
  ): Promise<Result> {
    const { byteLimits, compaction, facts } = this.options;
    const attempts = [
      write,
      async () => {
        await compaction?.freeSpace(place, await facts.read(place, context), context);
        return write();
      },
      () => (byteLimits === undefined ? write() : byteLimits.whileRaised(place, context, write)),
    ];
    let refusal: unknown;
    for (const attempt of attempts) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof KvError) || !FULL.has(error.kind)) throw error;
        refusal = error;
        // A full disk has no room for a higher limit either.
        if (error.kind !== "bucket_full") break;
      }
    }
    if (purged === undefined) throw refusal;
    await this.removeBelow(place, purged, context);
    return write();
  }

  private async removeBelow(place: KeyPlace, sequence: bigint, context: CallContext): Promise<void> {
    const range = { filter: place.subject, seq: Number(sequence) };
    try {
      await purgeStream(this.options.requests, place.stream, range, context);
    } catch (error) {
      if (error instanceof NoReplyError && error.sent) throw outcomeUnknown(aboutOf(place), error);
      throw toKvError(error, aboutOf(place));
    }
  }

  /** Takes the bytes where `neededBytes` more are below the limit: in one step, as others wait for the same facts. */
  private take(facts: CachedBucket, bytes: number, neededBytes: number): boolean {
    const { ledger } = facts;
    if (facts.maxBytes > 0 && usedBytesMax(facts) + neededBytes > facts.maxBytes) return false;
    ledger.admittedBytes += bytes;
    return true;
  }

  private async admitNearLimit(
    place: Place,
    subject: string,
    bytes: number,
    context: CallContext,
    mayWait: boolean,
  ): Promise<() => void> {
    for (let isLastTry = false; ;) {
      const facts = await this.fresh(place, context);
      if (this.take(facts, bytes, bytes)) return () => settle(facts, bytes);
      const other = this.replacing.get(subject);
      if (other !== undefined && mayWait) {
        // The revision that this one would push out is pushed out by that one.
        await other;
        continue;
      }
      if (other === undefined) {
        // Before the read: another write could push the revision out meanwhile.
        const end = this.beginReplacing(subject);
        const replacedBytes = await this.replacedBytes(place, subject, facts, context).catch(
          (error: unknown) => {
            end();
            throw error;
          },
        );
        // One that only replaces as much never makes the bucket larger.
        const neededBytes = replacedBytes >= bytes ? -Infinity : bytes - replacedBytes;
        if (this.take(facts, bytes, neededBytes))
          return () => {
            settle(facts, bytes);
            end();
          };
        end();
      }
      if (isLastTry || (await this.options.compaction?.freeSpace(place, facts, context)) !== true) {
        const { bucket } = place;
        throw new KvError("bucket_full", `The bucket ${quote(bucket)} has reached its max_bytes.`, {
          bucket,
        });
      }
      isLastTry = true;
    }
  }

  /** Returns what ends it. */
  private beginReplacing(subject: string): () => void {
    let resolve = (): void => undefined;
    this.replacing.set(subject, new Promise((settled) => (resolve = settled)));
    return () => {
      this.replacing.delete(subject);
      resolve();
    };
  }

  /** Facts read for this write, or for others that wait for the same. */
  private fresh(place: Place, context: CallContext): Promise<CachedBucket> {
    let read = this.reads.get(place.stream);
    if (read === undefined) {
      read = this.options.facts.read(place, context).finally(() => this.reads.delete(place.stream));
      this.reads.set(place.stream, read);
    }
    return read;
  }

  /** The size of the revision that a write of this key pushes out of the history. */
  private async replacedBytes(
    place: Place,
    subject: string,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<number> {
    const { requests, reader } = this.options;
    if (facts.history === 1) return sizeOf(await reader.newest(place, subject, context));
    const body = { subjects_filter: subject };
    const info = await readJetStream<SubjectsInfo>(requests, `STREAM.INFO.${place.stream}`, body, context);
    if ((info.state.subjects?.[subject] ?? 0) < facts.history) return 0;
    return sizeOf(await reader.next(place, subject, 1n, context));
  }
}

type SubjectsInfo = StreamInfo & {
  readonly state: { readonly subjects?: Readonly<Record<string, number>> | null };
};

/** Whether the bucket is so full that each write reads the used bytes first. */
export function isNearLimit(facts: CachedBucket): boolean {
  return facts.maxBytes > 0 && usedBytesMax(facts) + marginOf(facts) > facts.maxBytes;
}

/** An upper bound: what was under way when the facts were read may be among the stored bytes. */
function usedBytesMax({ usedBytes, ledger, settledBytes }: CachedBucket): number {
  return usedBytes + ledger.admittedBytes - settledBytes;
}

function marginOf({ maxBytes, usedBytes }: CachedBucket): number {
  const marginBytes = Math.min(maxBytes * MARGIN_FRACTION, MARGIN_BYTES_MAX);
  return Math.max(marginBytes, (maxBytes - usedBytes) * LEFT_FRACTION);
}

function settle({ ledger }: CachedBucket, bytes: number): void {
  ledger.settledBytes += bytes;
}

/** Roughly: without the headers other than metadata, which are small. */
function sizeOf(message: StoredMessage | undefined): number {
  if (message === undefined) return 0;
  const metadata = message.headers.get(METADATA_HEADER);
  const metadataBytes = metadata === "" ? 0 : METADATA_HEADER.length + HEADER_FRAME_BYTES + metadata.length;
  return RECORD_BYTES + HEADER_BYTES + message.subject.length + message.data.length + metadataBytes;
}
