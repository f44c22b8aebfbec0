/** Creates, inspects, lists, updates and deletes buckets. */
import { KvError, type KvErrorKind } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { checkBucketName, isReservedBucketName, quote, splitBucketName, streamName } from "../../kv/names.js";
import { SerialQueue } from "../../kv/serial-queue.js";
import { bucketJsonBytes, PageRoom } from "../../kv/page-room.js";
import { pageLimit, readPageToken, writePageToken } from "../../kv/page-token.js";
import type { BucketChange, BucketConfig, BucketInfo, Durability } from "../../kv/bucket.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Page, PageRequest } from "../../kv/reads.js";
import type { BucketConfigCache } from "../streams/bucket-config-cache.js";
import { type BucketLock, BucketLocks, type LastChange } from "./bucket-lock.js";
import { type BucketEdit, BucketUpdate } from "./bucket-update.js";
import type { DiskRoom } from "../embedded/disk-guard.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import type { BucketIndexes } from "../index/bucket-indexes.js";
import type { KeyLists } from "../index/key-lists.js";
import type { ReadCache } from "../read/read-cache.js";
import { existing, type MessageReader, type Place } from "../client/message-reader.js";
import { ExistingBuckets } from "./existing-buckets.js";
import { withoutPredecessor } from "./predecessor.js";
import type { RestartCheck } from "./restart-check.js";
import { type Survivors, survivorsMark } from "./survivors.js";
import type { Requests } from "../client/requests.js";
import { changeBucket } from "../client/retry.js";
import { bucketInfoOf, streamConfigOf, updatedConfig } from "../streams/stream-config.js";
import { streamInfos } from "../streams/stream-pages.js";

export interface BucketsOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly lists: KeyLists;
  readonly indexes: BucketIndexes;
  /** Undefined: every read asks the storage. */
  readonly cache: ReadCache | undefined;
  readonly facts: BucketConfigCache;
  /** Whether no other process changes buckets. */
  readonly isExclusive: boolean;
  readonly disk: DiskRoom;
  readonly survivors: Survivors;
  readonly restartCheck: RestartCheck;
  readonly limits: Limits;
  /** The number of replicas of a new bucket. */
  readonly replicas: number;
  /** What the connected server guarantees for acknowledged writes. */
  readonly durability: () => Durability;
}

const LISTING = "buckets";
/** The result of a delete. */
const GONE = {};
/** Errors that omit a bucket from a list: it was deleted meanwhile, or its revisions exceed 2^53. */
const OMITTED: ReadonlySet<KvErrorKind> = new Set<KvErrorKind>(["bucket_not_found", "unimplemented"]);
/** The most buckets of a page that are described concurrently. */
const CONCURRENT_DESCRIPTIONS = 8;
/** A list of more buckets reads the infos of all streams together. */
const SINGLE_INFOS_MAX = 32;

export class Buckets {
  /** The last change of each bucket by this process: changes read, then write, and must not overlap. */
  private readonly changes = new SerialQueue();

  private readonly existing: ExistingBuckets;
  private readonly locks: BucketLocks | undefined;

  constructor(private readonly options: BucketsOptions) {
    this.locks = options.isExclusive ? undefined : new BucketLocks(options.requests, options.replicas);
    this.existing = new ExistingBuckets(options.requests, options.limits);
  }

  async create(bucket: BucketConfig, context: CallContext, createdBy?: string): Promise<BucketInfo> {
    const { requests, limits, replicas } = this.options;
    const { name } = bucket;
    checkBucketName(splitBucketName(name).name);
    if (isReservedBucketName(name)) {
      throw new KvError(
        "reserved_name",
        `The bucket name ${quote(name)} is reserved; use one that does not start with 'APP_' or 'SYS_'.`,
        { bucket: name },
      );
    }
    this.options.disk.check("value", { bucket: name });
    await this.existing.checkLimits(createdBy, context);
    const config = streamConfigOf(bucket, limits, replicas, { createdBy });
    const request = {
      operation: `STREAM.CREATE.${config.name}`,
      body: config,
      // Repeating the request is safe, because it has an ID: it creates the bucket, or finds the one that it created.
      settle: () => Promise.resolve(undefined),
    };
    const created = await changeBucket<StreamInfo>(requests, request, { bucket: name }, context);
    const info = await withoutPredecessor(requests, config, created, { bucket: name }, context);
    return bucketInfoOf(name, info, 0, this.options.durability());
  }

  names(context: CallContext): Promise<readonly string[]> {
    return this.existing.names(context);
  }

  /** `counts`: whether to count the live keys. */
  get(bucket: string, context: CallContext, counts = true): Promise<BucketInfo> {
    return this.read(bucket, context, counts);
  }

  /** `known`: its stream's info, read since the call began. */
  private async read(
    bucket: string,
    context: CallContext,
    counts: boolean,
    known?: StreamInfo,
  ): Promise<BucketInfo> {
    const place = placeOf(bucket);
    const check = this.options.restartCheck.pending(bucket, context);
    await check;
    const isKnown = check === undefined && known !== undefined;
    const info = isKnown ? known : await this.options.reader.stream(place, context);
    if (counts) return this.describe(place, info, context);
    return bucketInfoOf(bucket, info, 0, this.options.durability());
  }

  async list(
    page: PageRequest,
    context: CallContext,
    isVisible: (bucket: string) => boolean = () => true,
    counts = true,
  ): Promise<Page<BucketInfo>> {
    const { bucketsPageMax, pageBytesMax } = this.options.limits;
    const limit = pageLimit(page.limit, bucketsPageMax);
    const token = readPageToken(page.pageToken, LISTING);
    const names = (await this.existing.names(context)).filter(
      (name) => (token === undefined || name > token.after) && isVisible(name),
    );
    const items: BucketInfo[] = [];
    const room = new PageRoom(limit, pageBytesMax);
    const { requests, reader } = this.options;
    const areMany = Math.min(limit, names.length) > SINGLE_INFOS_MAX && !reader.isClustered;
    const known = areMany ? await streamInfos(requests, context) : undefined;
    for (let done = 0; done < names.length;) {
      // One bucket more than fits shows whether another page follows.
      const next = names.slice(done, done + Math.min(CONCURRENT_DESCRIPTIONS, limit - items.length + 1));
      done += next.length;
      const infos = await Promise.all(next.map((name) => this.readUnlessGone(name, context, counts, known)));
      for (const info of infos) {
        if (info === undefined) continue;
        if (!room.take(bucketJsonBytes(info)))
          return { items, nextPageToken: writePageToken(LISTING, items.at(-1)?.name ?? "") };
        items.push(info);
      }
    }
    return { items, nextPageToken: "" };
  }

  async update(bucket: string, change: BucketChange, context: CallContext): Promise<BucketInfo> {
    const place = placeOf(bucket);
    // Reports a missing bucket before an invalid change.
    await existing(this.options.requests, place, context);
    await this.options.restartCheck.pending(bucket, context);
    const info = await this.edit(
      place,
      ({ config, state }) => updatedConfig(config, bucket, change, this.options.limits, state.bytes),
      context,
    );
    return this.describe(place, info, context);
  }

  /** Changes the configuration of a bucket's stream, while no other instance of the service changes it. */
  edit(place: Place, edit: BucketEdit, context: CallContext): Promise<StreamInfo> {
    return this.changes.run(place.stream, async () => {
      // nats-server replaces two files. If it can write only the first, the bucket is gone after its next start.
      this.options.disk.check("record", { bucket: place.bucket });
      const lock = await this.locks?.acquire(place.bucket, context);
      const update = new BucketUpdate(this.options, place, edit, lock);
      return this.changing(place.stream, lock, async () => {
        const info = await update.run(context);
        this.options.indexes.reconfigured(place.stream, info);
        return { result: info, last: { id: update.id, created: info.created } };
      });
    });
  }

  async delete(bucket: string, context: CallContext): Promise<void> {
    const place = placeOf(bucket);
    const { requests, survivors } = this.options;
    await existing(requests, place, context);
    await this.changes.run(place.stream, async () => {
      const lock = await this.locks?.acquire(bucket, context).catch(unlessFull);
      await this.changing(place.stream, lock, async () => {
        const { created, config } = await existing(requests, place, context);
        const request = {
          operation: `STREAM.DELETE.${place.stream}`,
          body: undefined,
          // A bucket that was created since then with the same name counts as gone.
          settle: async () => {
            await lock?.hold(context);
            return existing(requests, place, context).then(
              (now) => (now.created === created ? undefined : GONE),
              (error: unknown) => {
                if (error instanceof KvError && error.kind === "bucket_not_found") return GONE;
                throw error;
              },
            );
          },
        };
        await changeBucket<object>(requests, request, { bucket }, context).finally(() =>
          this.options.indexes.forget(place),
        );
        const mark = survivorsMark(config);
        // The sweep removes it where this fails.
        if (mark !== undefined) await survivors.drop(place, mark, context).catch(() => undefined);
        return { result: undefined, last: undefined };
      });
    });
  }

  private async describe(place: Place, info: StreamInfo, context: CallContext): Promise<BucketInfo> {
    const { keys, revision } = await this.options.lists.count(place, info, context);
    const described = bucketInfoOf(place.bucket, info, keys, this.options.durability());
    return { ...described, revision: BigInt(revision) };
  }

  private async readUnlessGone(
    bucket: string,
    context: CallContext,
    counts: boolean,
    known: ReadonlyMap<string, StreamInfo> | undefined,
  ): Promise<BucketInfo | undefined> {
    try {
      return await this.read(bucket, context, counts, known?.get(streamName(bucket)));
    } catch (error) {
      // A bucket of another program that can't be described must not hide the others.
      if (error instanceof KvError && OMITTED.has(error.kind)) return undefined;
      throw error;
    }
  }

  /** Runs a change under the lease. Keeps the lease if the outcome is unknown: the change may still be applied. */
  private async changing<Result>(
    stream: string,
    lock: BucketLock | undefined,
    change: () => Promise<{ readonly result: Result; readonly last: LastChange | undefined }>,
  ): Promise<Result> {
    const { cache, facts } = this.options;
    try {
      const { result, last } = await (cache === undefined ? change() : cache.duringBucket(stream, change));
      await lock?.release(last);
      return result;
    } catch (error) {
      if (!(error instanceof KvError) || error.kind !== "outcome_unknown") await lock?.release();
      throw error;
    } finally {
      facts.forget(stream);
    }
  }
}

function placeOf(bucket: string): Place {
  return { bucket, stream: streamName(bucket) };
}

/** Buckets must remain deletable on a full disk: without room for a lease the delete proceeds without one. */
function unlessFull(error: unknown): undefined {
  if (!(error instanceof KvError) || error.kind !== "storage_exhausted") throw error;
}
