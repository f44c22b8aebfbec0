/** Writing single keys. */
import { invalidArgument, KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { type BucketOwner, quote } from "../../kv/names.js";
import type { CallContext, Condition, DeleteOptions, PutOptions, WriteOptions } from "../../kv/store.js";
import type { CachedBucket, BucketConfigCache } from "../streams/bucket-config-cache.js";
import type { BucketQuota } from "./bucket-quota.js";
import { type DiskRoom, type DiskUse, storedBytes } from "../embedded/disk-guard.js";
import { checkCondition, checkRevision, isGone, textOf } from "./conditions.js";
import { aboutOf, type KeyPlace, placeOf } from "../read/entries.js";
import type { Expiry } from "../streams/expiry.js";
import { identityOf, type WriteIdentity } from "./idempotency.js";
import type { Incarnations } from "./incarnations.js";
import { KeyedWrites } from "./keyed-writes.js";
import type { MessageReader, Place, StoredMessage } from "../client/message-reader.js";
import type { ReadCache } from "../read/read-cache.js";
import { operationOf } from "../streams/records.js";
import type { Requests } from "../client/requests.js";
import { contentTypeLine, tooLarge, valueBytesMaxOf } from "./value-limits.js";
import { DELETE_LINE, NO_EXPIRY_LINE, PURGE_LINES, REQUEST_DELETE_LINE } from "./tombstone-headers.js";
import type { Write } from "./write.js";
import { MISMATCH, type Writer } from "./writer.js";

export interface EntryWritesOptions {
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
  /** Absent where no write names the bucket's creation time. */
  readonly incarnations?: Incarnations | undefined;
  /** Whose buckets these are. Default: users'. */
  readonly owner?: BucketOwner | undefined;
}

const NO_BYTES = new Uint8Array(0);
/** nats-server writes an atomic batch to a file of its own before it applies it (`newBatchStore`). */
const COPIES_MAX = 2;

export class EntryWrites {
  private readonly keyedWrites: KeyedWrites;

  constructor(private readonly options: EntryWritesOptions) {
    this.keyedWrites = new KeyedWrites(options.requests, options.reader, options.limits.keyedWritesMax);
  }

  async put(
    bucket: string,
    key: string,
    value: Uint8Array,
    options: PutOptions,
    context: CallContext,
  ): Promise<bigint> {
    const place = placeOf(bucket, key, this.options.owner);
    const headerLines = contentTypeLine(options.contentType ?? "", this.options.limits);
    this.checkValueSize(place, value.length);
    const condition = options.condition ?? "always";
    checkCondition(place, condition);
    const identity = this.identityOf(options, ["put", key, headerLines, textOf(condition)], value);
    // The service's own records are small, and needed where the disk is full: API keys, tickets for watches.
    const use = this.options.owner === undefined ? "value" : "record";
    return this.run(place, identity, options, context, async (identity) => {
      const facts = await this.factsThatAllow(place, value.length, context);
      const write = writeOf(place, value, headerLines, identity, use);
      return this.unlessFull(place, write, facts, context, () =>
        this.admit(place, write, context, async () => {
          if (condition === "always") return accepted(await this.write(write, context));
          if (condition === "if_absent") return this.putIfAbsent(place, write, context);
          return this.writeIfRevision(place, write, condition.ifRevision, context);
        }),
      );
    });
  }

  /** Puts if the bucket has space. If it is full, an earlier attempt of the same request may have been applied. */
  private async unlessFull(
    place: KeyPlace,
    write: Write,
    facts: CachedBucket,
    context: CallContext,
    send: () => Promise<bigint>,
  ): Promise<bigint> {
    const { quota, reader } = this.options;
    const release = await quota
      .admit(write, write.data.length, facts, context)
      .catch(async (error: unknown) => {
        if (write.identity === undefined) throw error;
        const newest = await reader.newest(place, place.subject, context);
        const revision = await this.appliedBefore(write, newest, context);
        if (revision === undefined) throw error;
        return revision;
      });
    if (typeof release === "bigint") return release;
    try {
      return await send();
    } finally {
      release();
    }
  }

  async delete(bucket: string, key: string, options: DeleteOptions, context: CallContext): Promise<bigint> {
    const place = placeOf(bucket, key, this.options.owner);
    const condition = options.condition ?? "always";
    if (condition === "if_absent") {
      throw invalidArgument("A delete takes no condition but a revision.", aboutOf(place));
    }
    checkCondition(place, condition);
    const headerLines = options.purge === true ? PURGE_LINES : DELETE_LINE;
    const request = [
      "delete",
      key,
      options.purge === true ? PURGE_LINES : REQUEST_DELETE_LINE,
      textOf(condition),
    ];
    const identity = this.identityOf(options, request, NO_BYTES);
    return this.run(place, identity, options, context, (identity) =>
      this.deleteOnce(place, writeOf(place, NO_BYTES, headerLines, identity, "record"), condition, context),
    );
  }

  /** Writes if the disk has space. If it is full, an earlier attempt of the same request may have been applied. */
  private async admit(
    place: KeyPlace,
    write: Write,
    context: CallContext,
    send: () => Promise<bigint>,
  ): Promise<bigint> {
    const { disk, reader } = this.options;
    const bytes = COPIES_MAX * (storedBytes(write.subject, write.data) + write.headerLines.length);
    try {
      return await disk.admit(write.use, bytes, aboutOf(place), send);
    } catch (error) {
      const isRefused = error instanceof KvError && error.kind === "storage_exhausted";
      if (!isRefused || write.identity?.uncertain === undefined) throw error;
      const newest = await reader.newest(place, place.subject, context);
      const revision = await this.appliedBefore(write, newest, context);
      if (revision === undefined) throw error;
      return revision;
    }
  }

  private identityOf(
    options: WriteOptions,
    request: readonly string[],
    value: Uint8Array,
  ): WriteIdentity | undefined {
    return identityOf(options, request, value, this.options.limits);
  }

  /** Runs a write whose arguments were checked; where it has an idempotency key, once for all its sendings that come here. */
  private run(
    place: KeyPlace,
    identity: WriteIdentity | undefined,
    { bucketCreatedAtMs }: WriteOptions,
    context: CallContext,
    write: (identity: WriteIdentity | undefined) => Promise<bigint>,
  ): Promise<bigint> {
    const once = (): Promise<bigint> => {
      if (identity === undefined) return write(undefined);
      const readFacts = (): Promise<CachedBucket> => this.facts(place, context);
      const { writer } = this.options;
      const remembered = (facts: CachedBucket): Promise<bigint | undefined> =>
        writer.remembered(place.subject, identity.messageId, facts, context);
      return this.keyedWrites.once(place, identity, aboutOf(place), readFacts, remembered, context, write);
    };
    return this.options.incarnations?.write(place, bucketCreatedAtMs, context, once) ?? once();
  }

  private async facts(place: Place, context: CallContext): Promise<CachedBucket> {
    const { facts } = this.options;
    return facts.recent(place) ?? (await facts.read(place, context));
  }

  private async deleteOnce(
    place: KeyPlace,
    write: Write,
    condition: Exclude<Condition, "if_absent">,
    context: CallContext,
  ): Promise<bigint> {
    const isPurge = write.headerLines === PURGE_LINES;
    const newest = await this.options.reader.newest(place, place.subject, context);
    const live = await this.options.expiry.unlessExpired(place, newest, context);
    const isMismatch = condition !== "always" && (live?.sequence ?? 0n) !== condition.ifRevision;
    if (isMismatch || newest === undefined || live === undefined || isGone(live, isPurge)) {
      const revision = await this.appliedBefore(write, newest, context);
      if (revision !== undefined) return revision;
      if (condition !== "always") checkRevision(place, condition.ifRevision, live);
      return 0n;
    }
    const { keepsTombstones } = await this.facts(place, context);
    const tombstone =
      isPurge || !keepsTombstones ? write : { ...write, headerLines: write.headerLines + NO_EXPIRY_LINE };
    const send = (): Promise<bigint> =>
      this.admit(place, tombstone, context, () =>
        condition === "always"
          ? this.write(tombstone, context).then(accepted)
          : this.writeIfRevision(place, tombstone, condition.ifRevision, context),
      );
    return this.options.quota.duringDelete(place, isPurge ? newest.sequence : undefined, context, send);
  }

  private async write(write: Write, context: CallContext): Promise<bigint | typeof MISMATCH> {
    return this.options.writer.write(write, await this.facts(write.place, context), context);
  }

  private async appliedBefore(
    write: Write,
    newest: StoredMessage | undefined,
    context: CallContext,
  ): Promise<bigint | undefined> {
    if (write.identity === undefined) return undefined;
    return this.options.writer.appliedBefore(write, newest, await this.facts(write.place, context), context);
  }

  /** A tombstone counts as absent: the write replaces exactly the one that was seen. */
  private async putIfAbsent(place: KeyPlace, write: Write, context: CallContext): Promise<bigint> {
    let expected = 0n;
    for (;;) {
      const outcome = await this.write({ ...write, expected }, context);
      if (outcome !== MISMATCH) return outcome;
      const newest = await this.options.reader.newest(place, place.subject, context);
      const live = await this.options.expiry.unlessExpired(place, newest, context);
      if (live !== undefined && operationOf(live.headers) === "put") {
        throw new KvError("key_exists", `The key ${quote(place.key)} has a value.`, {
          ...aboutOf(place),
          revision: live.sequence,
        });
      }
      expected = newest?.sequence ?? 0n;
    }
  }

  private async writeIfRevision(
    place: KeyPlace,
    write: Write,
    expected: bigint,
    context: CallContext,
  ): Promise<bigint> {
    await this.checkNotExpired(place, expected, context);
    for (;;) {
      const outcome = await this.write({ ...write, expected }, context);
      if (outcome !== MISMATCH) return outcome;
      // A cluster also refuses while another write of the key is under way: then the newest may still be ours.
      checkRevision(place, expected, await this.options.reader.newest(place, place.subject, context));
    }
  }

  /** The storage would still accept a write over a revision that has expired and that reads do not show any more. */
  private async checkNotExpired(place: KeyPlace, expected: bigint, context: CallContext): Promise<void> {
    const { cache, expiry, reader } = this.options;
    const read = (): Promise<StoredMessage | undefined> => reader.newest(place, place.subject, context);
    const newest = await (cache === undefined ? read() : cache.newest(place, context, read));
    // What is cached does not expire.
    if (newest === undefined || "key" in newest || newest.sequence !== expected) return;
    checkRevision(place, expected, await expiry.unlessExpired(place, newest, context));
  }

  private checkValueSize(place: KeyPlace, bytes: number): void {
    const most = valueBytesMaxOf(this.options);
    if (bytes > most) throw tooLarge(place, bytes, most, "the service");
  }

  /** The facts of a bucket that accepts values of this size. Throws `value_too_large`. */
  private async factsThatAllow(place: KeyPlace, bytes: number, context: CallContext): Promise<CachedBucket> {
    let facts = await this.facts(place, context);
    if (isOver(bytes, facts.maxValueSize)) facts = await this.options.facts.read(place, context);
    if (isOver(bytes, facts.maxValueSize)) throw tooLarge(place, bytes, facts.maxValueSize, "the bucket");
    return facts;
  }
}

function writeOf(
  place: KeyPlace,
  data: Uint8Array,
  headerLines: string,
  identity: WriteIdentity | undefined,
  use: DiskUse,
): Write {
  const { subject, key } = place;
  return { place, subject, key, data, headerLines, identity, use, expected: undefined };
}

/** The revision of a write that had no condition. */
function accepted(outcome: bigint | typeof MISMATCH): bigint {
  if (outcome === MISMATCH) throw new KvError("internal", "A write without a condition was refused for one.");
  return outcome;
}

function isOver(bytes: number, most: number): boolean {
  return most > 0 && bytes > most;
}
