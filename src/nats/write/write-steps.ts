/** The steps of every write of a single key: idempotency, the limits of the bucket and the service, the disk. */
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import type { BucketOwner } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { WriteOptions } from "../../kv/writes.js";
import type { CachedBucket, BucketConfigCache } from "../streams/bucket-config-cache.js";
import type { BucketQuota } from "./bucket-quota.js";
import { type DiskRoom, type DiskUse, storedBytes } from "../embedded/disk-guard.js";
import { aboutOf, type KeyPlace } from "../read/entries.js";
import type { Expiry } from "../streams/expiry.js";
import type { WriteIdentity } from "./idempotency.js";
import type { Incarnations } from "./incarnations.js";
import { KeyedWrites } from "./keyed-writes.js";
import type { MessageReader, Place, StoredMessage } from "../client/message-reader.js";
import type { ReadCache } from "../read/read-cache.js";
import type { Requests } from "../client/requests.js";
import { tooLarge, ttlNotSupported, valueBytesMaxOf } from "./value-limits.js";
import { aboutOf as writeAbout, type Write } from "./write.js";
import type { MISMATCH, Writer } from "./writer.js";

export interface WriteStepsOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly writer: Writer;
  readonly facts: BucketConfigCache;
  readonly expiry: Expiry;
  readonly quota: BucketQuota;
  readonly limits: Limits;
  /** The largest message that the storage takes, headers included. */
  readonly maxPayloadBytes: number;
  readonly disk: DiskRoom;
  /** Absent: every read asks the storage. */
  readonly cache?: ReadCache | undefined;
  /** Configures a bucket's stream to accept messages with a TTL. Absent where no write has one. */
  readonly allowTtl?: ((place: Place, context: CallContext) => Promise<unknown>) | undefined;
  /** Absent where no write names the bucket's creation time. */
  readonly incarnations?: Incarnations | undefined;
  /** Whose buckets these are. Default: users'. */
  readonly owner?: BucketOwner | undefined;
}

/** nats-server writes an atomic batch to a file of its own before it applies it (`newBatchStore`). */
const COPIES_MAX = 2;
/** A value to store; `bytes` includes its metadata. */
export interface StoredValue {
  readonly subject: string;
  readonly bytes: number;
}

/** The revision of a write, or that its condition did not hold. */
export type Outcome = bigint | typeof MISMATCH;

export class WriteSteps {
  private readonly keyedWrites: KeyedWrites;

  constructor(private readonly options: WriteStepsOptions) {
    this.keyedWrites = new KeyedWrites(options.requests, options.reader, options.limits.keyedWritesMax);
  }

  /** Runs a write whose arguments were checked; where it has an idempotency key, once for all its sendings that come here. */
  run(
    place: KeyPlace,
    identity: WriteIdentity | undefined,
    { bucketCreatedAtMs }: WriteOptions,
    context: CallContext,
    write: (identity: WriteIdentity | undefined) => Promise<bigint>,
  ): Promise<bigint> {
    const once = (): Promise<bigint> => {
      if (identity === undefined) return write(undefined);
      const readFacts = async (): Promise<CachedBucket> => this.facts(place, context);
      const { writer } = this.options;
      const remembered = (facts: CachedBucket): Promise<bigint | undefined> =>
        writer.remembered(place.subject, identity.messageId, facts, context);
      return this.keyedWrites.once(place, identity, aboutOf(place), readFacts, remembered, context, write);
    };
    return this.options.incarnations?.write(place, bucketCreatedAtMs, context, once) ?? once();
  }

  /** Writes values if the bucket has space for all of them. If it is full, an earlier attempt of the same request may have been applied. */
  async unlessFull<Result extends Outcome>(
    write: Write,
    values: readonly StoredValue[],
    facts: CachedBucket,
    context: CallContext,
    send: () => Promise<Result>,
  ): Promise<Result | bigint> {
    const { place } = write;
    const releases: (() => void)[] = [];
    try {
      for (const { subject, bytes } of values) {
        const mayWait = values.length === 1;
        const admitted = this.options.quota.admit(place, subject, bytes, facts, context, mayWait);
        releases.push(admitted instanceof Promise ? await admitted : admitted);
      }
      return await send();
    } catch (error) {
      const isRefused = error instanceof KvError && error.kind === "bucket_full";
      if (!isRefused || write.identity === undefined) throw error;
      return await this.appliedBeforeOr(error, write, context);
    } finally {
      for (const release of releases) release();
    }
  }

  /** Writes so many bytes if the disk has space. If it is full, an earlier attempt of the same request may have been applied. */
  admit<Result extends Outcome>(
    write: Write,
    bytes: number,
    context: CallContext,
    send: () => Promise<Result>,
  ): Promise<Result | bigint> {
    const outcome = this.options.disk.admit(write.use, COPIES_MAX * bytes, writeAbout(write), send);
    if (write.identity?.uncertain === undefined) return outcome;
    return outcome.catch((error: unknown) => {
      const isRefused = error instanceof KvError && error.kind === "storage_exhausted";
      if (!isRefused) throw error;
      return this.appliedBeforeOr(error, write, context);
    });
  }

  /** The revision of an earlier attempt; throws the refusal if none was applied. */
  async appliedBeforeOr(refusal: unknown, write: Write, context: CallContext): Promise<bigint> {
    const newest = await this.options.reader.newest(write.place, write.subject, context);
    const revision = await this.appliedBefore(write, newest, context);
    if (revision === undefined) throw refusal;
    return revision;
  }

  /** The bucket's configuration, at most a second old. A promise only if it is read. */
  facts(place: Place, context: CallContext): CachedBucket | Promise<CachedBucket> {
    const { facts } = this.options;
    return facts.recent(place) ?? facts.read(place, context);
  }

  write(write: Write, context: CallContext): Promise<Outcome> {
    const { writer } = this.options;
    const facts = this.facts(write.place, context);
    if (facts instanceof Promise) return facts.then((read) => writer.write(write, read, context));
    return writer.write(write, facts, context);
  }

  /** See `Writer.appliedBefore`. */
  async appliedBefore(
    write: Write,
    newest: StoredMessage | undefined,
    context: CallContext,
  ): Promise<bigint | undefined> {
    if (write.identity === undefined) return undefined;
    return this.options.writer.appliedBefore(write, newest, await this.facts(write.place, context), context);
  }

  /** Throws `value_too_large` for the service's limit. */
  checkValueSize(place: KeyPlace, bytes: number, metadataBytes: number): void {
    const most = valueBytesMaxOf(this.options);
    if (bytes + metadataBytes > most) throw tooLarge(place, bytes, most, "the service", metadataBytes);
  }

  /** The facts of a bucket that accepts values of this size. A promise only if they are read. Throws `value_too_large`. */
  factsThatAllow(
    place: KeyPlace,
    bytes: number,
    metadataBytes: number,
    context: CallContext,
  ): CachedBucket | Promise<CachedBucket> {
    const known = this.options.facts.recent(place);
    if (known !== undefined && !isOver(bytes + metadataBytes, known.maxValueSize)) return known;
    return this.readFactsThatAllow(place, bytes, metadataBytes, context);
  }

  private async readFactsThatAllow(
    place: KeyPlace,
    bytes: number,
    metadataBytes: number,
    context: CallContext,
  ): Promise<CachedBucket> {
    const allBytes = bytes + metadataBytes;
    const facts = await this.options.facts.read(place, context);
    if (!isOver(allBytes, facts.maxValueSize)) return facts;
    throw tooLarge(place, bytes, facts.maxValueSize, "the bucket", metadataBytes);
  }

  /** Throws `ttl_not_supported` if the bucket can't hold a value with a TTL. Configures the stream of another program to accept TTLs. */
  async checkAllowsTtl(place: KeyPlace, known: CachedBucket, context: CallContext): Promise<void> {
    const { allowTtl, facts } = this.options;
    let { history, allowsTtl } = known;
    if (history !== 1) ({ history, allowsTtl } = await facts.read(place, context));
    if (history !== 1) throw ttlNotSupported(place, history);
    if (!allowsTtl) await allowTtl?.(place, context);
  }
}

export function writeOf(
  place: KeyPlace,
  data: Uint8Array,
  headerLines: string,
  identity: WriteIdentity | undefined,
  use: DiskUse,
): Write {
  const { subject, key } = place;
  return { place, subject, key, data, headerLines, identity, use, expected: undefined };
}

/** The bytes that a write takes on disk, at most. */
export function storedBytesOf({
  subject,
  data,
  headerLines,
}: Pick<Write, "subject" | "data" | "headerLines">): number {
  return storedBytes(subject, data) + headerLines.length;
}

export function isOver(bytes: number, most: number): boolean {
  return most > 0 && bytes > most;
}
