/** Making, describing, changing and removing buckets. */
import { isDeepStrictEqual } from "node:util";
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { checkBucketName, isReservedBucketName, quote, streamName } from "../kv/names.js";
import type {
  BucketChange,
  BucketConfig,
  BucketInfo,
  CallScope,
  Durability,
  Page,
  PageRequest,
} from "../kv/store.js";
import type { BucketFactsCache } from "./bucket-facts.js";
import { outcomeUnknown } from "./errors.js";
import type { StreamInfo } from "./jetstream-api.js";
import type { LiveKeys } from "./live-keys.js";
import type { ReadCache } from "./read-cache.js";
import { existing, type MessageReader, type Place } from "./newest.js";
import { PresentBuckets } from "./bucket-room.js";
import { pageLimit, readPageToken, writePageToken } from "./page-token.js";
import type { Requests } from "./requests.js";
import { changeBucket } from "./settling.js";
import { bucketInfoOf, streamConfigOf, updatedConfig } from "./stream-config.js";

export interface BucketsOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly liveKeys: LiveKeys;
  /** Absent: every read asks the storage. */
  readonly cache: ReadCache | undefined;
  readonly facts: BucketFactsCache;
  readonly limits: Limits;
  /** Copies that the storage keeps of a new bucket. */
  readonly replicas: number;
  /** What the server's configuration promises of acknowledged writes. */
  readonly durability: Durability;
}

const LISTING = "buckets";
/** What a delete is answered with. */
const GONE = {};
/** Buckets that are described at once for one page. */
const DESCRIBED_AT_ONCE = 8;

export class Buckets {
  /** The last change of each bucket by this process: changes read, then write, and must not overlap. */
  private readonly changes = new Map<string, Promise<unknown>>();

  private readonly present: PresentBuckets;

  constructor(private readonly options: BucketsOptions) {
    this.present = new PresentBuckets(options.requests, options.limits);
  }

  async create(bucket: BucketConfig, scope: CallScope, createdBy?: string): Promise<BucketInfo> {
    const { requests, limits, replicas } = this.options;
    const { name } = bucket;
    checkBucketName(name);
    if (isReservedBucketName(name)) {
      throw new KvError(
        "reserved_name",
        `The bucket name ${quote(name)} is reserved; take one that does not begin with 'APP_' or 'SYS_'.`,
        { bucket: name },
      );
    }
    await this.present.checkRoom(createdBy, scope);
    const config = streamConfigOf(bucket, limits, replicas, { createdBy });
    const request = {
      operation: `STREAM.CREATE.${config.name}`,
      body: config,
      // The same again is the same act of creation, by its id: it makes the bucket, or finds the one that it made.
      settle: () => Promise.resolve(undefined),
    };
    const info = await changeBucket<StreamInfo>(requests, request, { bucket: name }, scope);
    return bucketInfoOf(name, info, 0, this.options.durability);
  }

  async get(bucket: string, scope: CallScope): Promise<BucketInfo> {
    const place = placeOf(bucket);
    return this.describe(place, await this.options.reader.stream(place, scope), scope);
  }

  async list(
    page: PageRequest,
    scope: CallScope,
    shows: (bucket: string) => boolean = () => true,
  ): Promise<Page<BucketInfo>> {
    const limit = pageLimit(page.limit, this.options.limits.bucketsPageMax);
    const after = readPageToken(page.pageToken, LISTING);
    const names = (await this.present.names(scope)).filter(
      (name) => (after === undefined || name > after) && shows(name),
    );
    const items: BucketInfo[] = [];
    let taken = 0;
    while (items.length < limit && taken < names.length) {
      const next = names.slice(taken, taken + Math.min(DESCRIBED_AT_ONCE, limit - items.length));
      const infos = await Promise.all(next.map((name) => this.getUnlessGone(name, scope)));
      items.push(...infos.filter((info) => info !== undefined));
      taken += next.length;
    }
    const last = names[taken - 1];
    return {
      items,
      nextPageToken: taken < names.length && last !== undefined ? writePageToken(LISTING, last) : "",
    };
  }

  async update(bucket: string, change: BucketChange, scope: CallScope): Promise<BucketInfo> {
    const place = placeOf(bucket);
    return this.oneAtATime(place.stream, async () => {
      const { requests, limits, facts } = this.options;
      const { config } = await existing(requests, place, scope);
      const changed = updatedConfig(config, bucket, change, limits);
      const request = {
        operation: `STREAM.UPDATE.${place.stream}`,
        body: changed,
        settle: async () => {
          const now = await existing(requests, place, scope);
          if (isDeepStrictEqual(updatedConfig(now.config, bucket, change, limits), now.config)) return now;
          // Somebody else changed it since: ours may be underneath.
          if (!isDeepStrictEqual(now.config, config)) throw outcomeUnknown({ bucket });
          return undefined;
        },
      };
      const info = await this.changing(place.stream, () =>
        changeBucket<StreamInfo>(requests, request, { bucket }, scope),
      );
      facts.forget(place.stream);
      return this.describe(place, info, scope);
    });
  }

  async delete(bucket: string, scope: CallScope): Promise<void> {
    const place = placeOf(bucket);
    const { requests } = this.options;
    const { created } = await existing(requests, place, scope);
    const request = {
      operation: `STREAM.DELETE.${place.stream}`,
      body: undefined,
      // One that was made since, under the same name, is another one.
      settle: () =>
        existing(requests, place, scope).then(
          (now) => (now.created === created ? undefined : GONE),
          (error: unknown) => {
            if (error instanceof KvError && error.kind === "bucket_not_found") return GONE;
            throw error;
          },
        ),
    };
    await this.changing(place.stream, () => changeBucket<object>(requests, request, { bucket }, scope));
    this.options.facts.forget(place.stream);
  }

  private async describe(place: Place, info: StreamInfo, scope: CallScope): Promise<BucketInfo> {
    const values = await this.options.liveKeys.count(place, info, scope);
    return bucketInfoOf(place.bucket, info, values, this.options.durability);
  }

  private async getUnlessGone(bucket: string, scope: CallScope): Promise<BucketInfo | undefined> {
    try {
      return await this.get(bucket, scope);
    } catch (error) {
      if (error instanceof KvError && error.kind === "bucket_not_found") return undefined;
      throw error;
    }
  }

  private changing<Answer>(stream: string, change: () => Promise<Answer>): Promise<Answer> {
    const { cache } = this.options;
    return cache === undefined ? change() : cache.duringBucket(stream, change);
  }

  private async oneAtATime<Result>(stream: string, task: () => Promise<Result>): Promise<Result> {
    const before = this.changes.get(stream) ?? Promise.resolve();
    const mine = before.then(task, task);
    this.changes.set(stream, mine);
    try {
      return await mine;
    } finally {
      if (this.changes.get(stream) === mine) this.changes.delete(stream);
    }
  }
}

function placeOf(bucket: string): Place {
  return { bucket, stream: streamName(bucket) };
}
