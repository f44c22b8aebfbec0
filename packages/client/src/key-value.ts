/** Buckets: made, described, changed and removed. */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { BucketService } from "../../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { type Bucket as BucketMessage, Durability, Storage } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { Bucket } from "./bucket.js";
import type { Caller, CallOptions } from "./caller.js";
import { dateOf, durationOf, millisecondsOfDuration, uint32Of, uint64Of, wellFormed } from "./convert.js";
import { KvError } from "./errors.js";

/** What can be chosen for a bucket. */
export interface BucketSettings {
  /** Free text for people, up to 1,024 bytes. Default: empty. */
  readonly description?: string | undefined;
  /** How long an entry lives after it was written, in seconds: 1 to 100 years. 0, the default: for ever. */
  readonly ttlSeconds?: number | undefined;
  /** The largest value to accept, in bytes. 0, the default: the service's own limit only. */
  readonly maxValueSize?: number | undefined;
  /** The most bytes to hold, history and tombstones included: 1,024 or more. 0, the default: no limit. */
  readonly maxBytes?: number | undefined;
  /** How many revisions each key keeps: 1, the default, to 64. */
  readonly history?: number | undefined;
}

export interface CreateBucketOptions extends BucketSettings {
  /** 1 to 64 of `A-Z a-z 0-9 _ -`. */
  readonly name: string;
}

/** A bucket and what it holds. */
export interface BucketInfo {
  readonly name: string;
  readonly description: string;
  /** 0: entries live for ever. */
  readonly ttlSeconds: number;
  /** 0: the service's own limit only. */
  readonly maxValueSize: number;
  /** 0: no limit. */
  readonly maxBytes: number;
  readonly history: number;
  /** Keys that have a value. */
  readonly values: number;
  /** Bytes stored, history and tombstones included. */
  readonly bytes: number;
  readonly createdAt: Date;
  /** The newest revision; 0n when nothing was ever written. */
  readonly revision: bigint;
  /** How many copies the storage keeps. */
  readonly replicas: number;
  readonly storage: "file" | "memory";
  /** What an acknowledged write survives: `synced`, a power failure; `relaxed`, not quite; `unknown`, as the NATS server is configured. */
  readonly durability: "synced" | "relaxed" | "unknown";
  /** How long the bucket remembers a write by its idempotency key, in milliseconds; 0: not at all. */
  readonly idempotencyWindowMs: number;
}

/** The fields that both requests share. */
interface SettingFields {
  description?: string;
  ttl?: Duration;
  maxValueSize?: number;
  maxBytes?: bigint;
  history?: number;
}

/** Buckets. The errors of every call are those of {@link Bucket}. */
export class KeyValue {
  constructor(private readonly caller: Caller) {}

  /** One bucket, to read and write its keys. Sends nothing. */
  bucket(name: string): Bucket {
    return new Bucket(this.caller, wellFormed(name, "The bucket's name"));
  }

  /** Makes a bucket. Throws KvBucketExistsError when the name is taken, whatever that bucket's settings. */
  async createBucket(options: CreateBucketOptions, callOptions: CallOptions = {}): Promise<BucketInfo> {
    const request = { ...settingFields(options), name: wellFormed(options.name, "The bucket's name") };
    const response = await this.caller.unary(BucketService.method.createBucket, request, callOptions);
    return infoOf(response.bucket);
  }

  /** Every bucket, in the order of names. */
  async listBuckets(callOptions: CallOptions = {}): Promise<BucketInfo[]> {
    const buckets: BucketInfo[] = [];
    let pageToken = "";
    do {
      const request = { pageToken };
      const response = await this.caller.unary(BucketService.method.listBuckets, request, callOptions);
      buckets.push(...response.buckets.map(infoOf));
      pageToken = response.nextPageToken;
    } while (pageToken !== "");
    return buckets;
  }

  /** A bucket's settings and what it holds. Throws KvNotFoundError. */
  async getBucketInfo(name: string, callOptions: CallOptions = {}): Promise<BucketInfo> {
    const request = { bucket: wellFormed(name, "The bucket's name") };
    const response = await this.caller.unary(BucketService.method.getBucket, request, callOptions);
    return infoOf(response.bucket);
  }

  /**
   * Changes the settings that are given; the others stay. Entries that a shorter `ttlSeconds` or `history` no longer covers are
   * removed. Throws KvNotFoundError.
   */
  async updateBucket(
    name: string,
    settings: BucketSettings,
    callOptions: CallOptions = {},
  ): Promise<BucketInfo> {
    const request = { ...settingFields(settings), bucket: wellFormed(name, "The bucket's name") };
    const response = await this.caller.unary(BucketService.method.updateBucket, request, callOptions);
    return infoOf(response.bucket);
  }

  /** Deletes a bucket with all its entries, for good. Throws KvNotFoundError. */
  async deleteBucket(name: string, callOptions: CallOptions = {}): Promise<void> {
    const request = { bucket: wellFormed(name, "The bucket's name") };
    await this.caller.unary(BucketService.method.deleteBucket, request, callOptions);
    this.caller.forgetRevision(name);
  }

  /**
   * Removes the tombstones of deleted keys now, with the history that the keys had; returns how many. The service does so by itself when they
   * are an hour old, and when the bucket is full. Throws KvNotFoundError.
   */
  async compactBucket(name: string, callOptions: CallOptions = {}): Promise<number> {
    const request = { bucket: wellFormed(name, "The bucket's name") };
    const response = await this.caller.unary(BucketService.method.compactBucket, request, callOptions);
    return Number(response.removed);
  }
}

/** The settings that are given, as fields: what is left out must stay unset, for that means "as it is". */
function settingFields(settings: BucketSettings): SettingFields {
  const fields: SettingFields = {};
  const { description, ttlSeconds, maxValueSize, maxBytes, history } = settings;
  if (description !== undefined) fields.description = wellFormed(description, "description");
  if (ttlSeconds !== undefined) fields.ttl = durationOf(ttlSeconds * 1_000, "ttlSeconds");
  if (maxValueSize !== undefined) fields.maxValueSize = uint32Of(maxValueSize, "maxValueSize");
  if (maxBytes !== undefined) fields.maxBytes = uint64Of(maxBytes, "maxBytes");
  if (history !== undefined) fields.history = uint32Of(history, "history");
  return fields;
}

const DURABILITY: Readonly<Record<Durability, BucketInfo["durability"]>> = {
  [Durability.UNSPECIFIED]: "unknown",
  [Durability.SYNCED]: "synced",
  [Durability.RELAXED]: "relaxed",
  [Durability.UNKNOWN]: "unknown",
};

function infoOf(bucket: BucketMessage | undefined): BucketInfo {
  if (bucket === undefined) throw new KvError("The answer has no bucket.", { code: "internal" });
  return {
    name: bucket.name,
    description: bucket.description,
    ttlSeconds: bucket.ttl === undefined ? 0 : millisecondsOfDuration(bucket.ttl) / 1_000,
    maxValueSize: bucket.maxValueSize,
    maxBytes: Number(bucket.maxBytes),
    history: bucket.history,
    values: Number(bucket.values),
    bytes: Number(bucket.bytes),
    createdAt: dateOf(bucket.createdAt),
    revision: bucket.revision,
    replicas: bucket.replicas,
    storage: bucket.storage === Storage.MEMORY ? "memory" : "file",
    durability: DURABILITY[bucket.durability],
    idempotencyWindowMs: bucket.idempotencyWindow ? millisecondsOfDuration(bucket.idempotencyWindow) : 0,
  };
}
