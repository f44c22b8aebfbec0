/** Making, describing, changing and removing buckets. */
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { bucketOfStream, checkBucketName, isReservedBucketName, quote, streamName } from "../kv/names.js";
import type { BucketChange, BucketConfig, BucketInfo, CallScope, Page, PageRequest } from "../kv/store.js";
import type { BucketFactsCache } from "./bucket-facts.js";
import { outcomeUnknown, toKvError } from "./errors.js";
import { askJetStream, type StreamConfig, type StreamInfo } from "./jetstream-api.js";
import type { LiveKeys } from "./live-keys.js";
import { existing, type Place } from "./newest.js";
import { pageLimit, readPageToken, writePageToken } from "./page-token.js";
import { type Requests, Unanswered } from "./requests.js";
import { bucketInfoOf, streamConfigOf, updatedConfig } from "./stream-config.js";

export interface BucketsOptions {
  readonly requests: Requests;
  readonly liveKeys: LiveKeys;
  readonly facts: BucketFactsCache;
  readonly limits: Limits;
  /** Copies that the storage keeps of a new bucket. */
  readonly replicas: number;
}

const LISTING = "buckets";
/** Buckets that are described at once for one page. */
const DESCRIBED_AT_ONCE = 8;

export class Buckets {
  /** The last change of each bucket by this process: changes read, then write, and must not overlap. */
  private readonly changes = new Map<string, Promise<unknown>>();

  constructor(private readonly options: BucketsOptions) {}

  async create(bucket: BucketConfig, scope: CallScope): Promise<BucketInfo> {
    const { limits, replicas } = this.options;
    const { name } = bucket;
    checkBucketName(name);
    if (isReservedBucketName(name)) {
      throw new KvError(
        "reserved_name",
        `The bucket name ${quote(name)} is reserved; take one that does not begin with 'APP_' or 'SYS_'.`,
        { bucket: name },
      );
    }
    const config = streamConfigOf(bucket, limits, replicas);
    const info = await this.change<StreamInfo>(`STREAM.CREATE.${config.name}`, config, name, scope);
    return bucketInfoOf(name, info, 0);
  }

  async get(bucket: string, scope: CallScope): Promise<BucketInfo> {
    const place = placeOf(bucket);
    return this.describe(place, await existing(this.options.requests, place, scope), scope);
  }

  async list(page: PageRequest, scope: CallScope): Promise<Page<BucketInfo>> {
    const limit = pageLimit(page.limit, this.options.limits.bucketsPageMax);
    const after = readPageToken(page.pageToken, LISTING);
    const names = (await this.names(scope)).filter((name) => after === undefined || name > after);
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
      const info = await this.change<StreamInfo>(`STREAM.UPDATE.${place.stream}`, changed, bucket, scope);
      facts.forget(place.stream);
      return this.describe(place, info, scope);
    });
  }

  async delete(bucket: string, scope: CallScope): Promise<void> {
    const place = placeOf(bucket);
    await this.change(`STREAM.DELETE.${place.stream}`, undefined, bucket, scope);
    this.options.facts.forget(place.stream);
  }

  private async describe(place: Place, info: StreamInfo, scope: CallScope): Promise<BucketInfo> {
    return bucketInfoOf(place.bucket, info, await this.options.liveKeys.count(place, info, scope));
  }

  private async getUnlessGone(bucket: string, scope: CallScope): Promise<BucketInfo | undefined> {
    try {
      return await this.get(bucket, scope);
    } catch (error) {
      if (error instanceof KvError && error.kind === "bucket_not_found") return undefined;
      throw error;
    }
  }

  /** The names of all buckets, sorted. */
  private async names(scope: CallScope): Promise<string[]> {
    const names = new Set<string>();
    for (let offset = 0; ;) {
      const answer = await askJetStream<{
        readonly streams: readonly string[] | null;
        readonly total: number;
      }>(this.options.requests, "STREAM.NAMES", { subject: "$KV.*.>", offset }, scope).catch(
        (error: unknown) => {
          throw toKvError(error, {});
        },
      );
      const streams = answer.streams ?? [];
      for (const stream of streams) {
        const bucket = bucketOfStream(stream);
        if (bucket !== undefined) names.add(bucket);
      }
      offset += streams.length;
      if (streams.length === 0 || offset >= answer.total) return [...names].sort();
    }
  }

  /** Asks for something that changes the storage: unanswered, its outcome is not known. */
  private async change<Answer>(
    operation: string,
    body: StreamConfig | undefined,
    bucket: string,
    scope: CallScope,
  ): Promise<Answer> {
    try {
      return await askJetStream<Answer>(this.options.requests, operation, body, scope);
    } catch (error) {
      if (error instanceof Unanswered && error.sent) throw outcomeUnknown({ bucket }, error);
      throw toKvError(error, { bucket });
    }
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
