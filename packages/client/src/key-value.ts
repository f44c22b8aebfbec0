/** The SDK's bucket methods: create, list, inspect, update, delete, compact. */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { BucketService } from "../../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  type Bucket as BucketMessage,
  BucketSchema,
  Durability,
  Storage,
} from "../../../gen/ironflow/kv/v1/types_pb.js";
import { Bucket } from "./bucket.js";
import { CALL_OPTIONS, type CallOptions, type RpcClient } from "./rpc-client.js";
import { dateOf, durationOf, millisecondsOfDuration, uint32Of, uint64Of, wellFormed } from "./convert.js";
import {
  type BucketDifference,
  KvBucketDiffersError,
  KvBucketExistsError,
  KvError,
  KvNotFoundError,
} from "./errors.js";
import { withJson } from "./json.js";
import { checkOptions, type OptionNames } from "./options.js";
import { pagesOf } from "./pages.js";

/** The settings of a bucket. */
export interface BucketSettings {
  /** Free text, up to 1,024 bytes. Default: empty. */
  readonly description?: string | undefined;
  /** How long an entry lives after its write: 1 second to 100 years, in seconds. 0, the default: forever. */
  readonly ttlSeconds?: number | undefined;
  /** The largest value to accept, in bytes. 0, the default: only the service's limit applies. */
  readonly maxValueSize?: number | undefined;
  /** The most bytes to store, including history and tombstones: 1,024 or more. 0, the default: no limit. */
  readonly maxBytes?: number | undefined;
  /** How many revisions each key keeps: 1, the default, to 64. */
  readonly history?: number | undefined;
}

const SETTINGS: OptionNames<BucketSettings> = {
  ...{ description: true, ttlSeconds: true, maxValueSize: true, maxBytes: true, history: true },
};
const CREATE_OPTIONS: OptionNames<CreateBucketOptions> = { name: true, ...SETTINGS };

export interface CreateBucketOptions extends BucketSettings {
  /** 1 to 64 of `A-Z a-z 0-9 _ -`. */
  readonly name: string;
}

/** A bucket's settings and statistics. */
export interface BucketInfo {
  readonly name: string;
  readonly description: string;
  /** 0: entries live forever. */
  readonly ttlSeconds: number;
  /** 0: only the service's limit applies. */
  readonly maxValueSize: number;
  /** 0: no limit. */
  readonly maxBytes: number;
  readonly history: number;
  /** Keys that have a value; 0 with `withoutValues`. */
  readonly values: number;
  /** Stored bytes, including history and tombstones. */
  readonly bytes: number;
  readonly createdAt: Date;
  /** The newest revision; 0n if nothing was ever written. */
  readonly revision: bigint;
  /** The number of replicas in the storage. */
  readonly replicas: number;
  readonly storage: "file" | "memory";
  /**
   * Whether acknowledged writes survive a power failure. `synced`: yes. `relaxed`: they may be lost. `unknown`: depends on the external
   * NATS server's configuration.
   */
  readonly durability: "synced" | "relaxed" | "unknown";
  /** How long the bucket deduplicates writes by idempotency key, in milliseconds; 0: not at all. */
  readonly idempotencyWindowMs: number;
}

export interface BucketInfoOptions extends CallOptions {
  /** Do not count the keys: `values` is 0. Cheaper, for callers that ask often. Default: false. */
  readonly withoutValues?: boolean | undefined;
}

const BUCKET_INFO_OPTIONS: OptionNames<BucketInfoOptions> = { ...CALL_OPTIONS, withoutValues: true };

const PATHS_WITHOUT_VALUES = BucketSchema.fields.map(({ name }) => name).filter((name) => name !== "values");

function readMaskOf({ withoutValues }: BucketInfoOptions): { readMask?: { paths: string[] } } {
  return withoutValues === true ? { readMask: { paths: PATHS_WITHOUT_VALUES } } : {};
}

/** The fields that CreateBucketRequest and UpdateBucketRequest share. */
interface SettingFields {
  description?: string;
  ttl?: Duration;
  maxValueSize?: number;
  maxBytes?: bigint;
  history?: number;
}

/** Manages buckets. Every call may throw the errors of {@link Bucket}. */
export class KeyValue {
  constructor(private readonly rpc: RpcClient) {}

  toJSON(): object {
    return {};
  }

  /** Returns a handle for one bucket. Sends nothing. */
  bucket(name: string): Bucket {
    return new Bucket(this.rpc, wellFormed(name, "The bucket's name"));
  }

  /** Lists the environments that have a bucket which the API key may see, and `default`, sorted. */
  async listEnvironments(callOptions: CallOptions = {}): Promise<string[]> {
    checkOptions(callOptions, CALL_OPTIONS, "listEnvironments");
    const { environments } = await this.rpc.unary(BucketService.method.listEnvironments, {}, callOptions);
    return environments;
  }

  /** Creates a bucket. Throws KvBucketExistsError if the name is taken, whatever the existing bucket's settings. */
  async createBucket(options: CreateBucketOptions, callOptions: CallOptions = {}): Promise<BucketInfo> {
    checkOptions(options, CREATE_OPTIONS, "createBucket");
    checkOptions(callOptions, CALL_OPTIONS, "createBucket");
    const request = { ...settingFields(options), name: wellFormed(options.name, "The bucket's name") };
    const response = await this.rpc.unary(BucketService.method.createBucket, request, callOptions);
    return infoOf(response.bucket);
  }

  /**
   * Creates the bucket if it does not exist, and returns it. If it exists, it is not changed: throws KvBucketDiffersError, with the
   * differences, unless it has the given settings. Settings that are not given are not compared.
   */
  async ensureBucket(options: CreateBucketOptions, callOptions: CallOptions = {}): Promise<BucketInfo> {
    checkOptions(options, CREATE_OPTIONS, "ensureBucket");
    for (;;) {
      try {
        return await this.createBucket(options, callOptions);
      } catch (error) {
        if (!(error instanceof KvBucketExistsError)) throw error;
      }
      try {
        const info = await this.getBucketInfo(options.name, callOptions);
        checkSettings(info, options);
        return info;
      } catch (error) {
        // Deleted meanwhile.
        if (!(error instanceof KvNotFoundError)) throw error;
      }
    }
  }

  /** Lists every bucket, ordered by name. */
  async listBuckets(options: BucketInfoOptions = {}): Promise<BucketInfo[]> {
    checkOptions(options, BUCKET_INFO_OPTIONS, "listBuckets");
    const readMask = readMaskOf(options);
    const pages = pagesOf((pageToken) =>
      this.rpc.unary(BucketService.method.listBuckets, { pageToken, ...readMask }, options),
    );
    const buckets: BucketInfo[] = [];
    for await (const page of pages) buckets.push(...page.buckets.map(infoOf));
    return buckets;
  }

  /** Returns a bucket's settings and statistics. Throws KvNotFoundError. */
  async getBucketInfo(name: string, options: BucketInfoOptions = {}): Promise<BucketInfo> {
    checkOptions(options, BUCKET_INFO_OPTIONS, "getBucketInfo");
    const request = { bucket: wellFormed(name, "The bucket's name"), ...readMaskOf(options) };
    const response = await this.rpc.unary(BucketService.method.getBucket, request, options);
    return infoOf(response.bucket);
  }

  /**
   * Updates the given settings and keeps the others. Removes entries that a shorter `ttlSeconds` or `history` no longer
   * covers. Throws KvNotFoundError, and KvUnavailableError while another instance of the service changes the bucket (retry).
   */
  async updateBucket(
    name: string,
    settings: BucketSettings,
    callOptions: CallOptions = {},
  ): Promise<BucketInfo> {
    checkOptions(settings, SETTINGS, "updateBucket");
    checkOptions(callOptions, CALL_OPTIONS, "updateBucket");
    const request = { ...settingFields(settings), bucket: wellFormed(name, "The bucket's name") };
    const response = await this.rpc.unary(BucketService.method.updateBucket, request, callOptions);
    return infoOf(response.bucket);
  }

  /** Permanently deletes a bucket and all its entries. Throws KvNotFoundError. */
  async deleteBucket(name: string, callOptions: CallOptions = {}): Promise<void> {
    checkOptions(callOptions, CALL_OPTIONS, "deleteBucket");
    const request = { bucket: wellFormed(name, "The bucket's name") };
    await this.rpc.unary(BucketService.method.deleteBucket, request, callOptions);
    this.rpc.clearRevision(name);
  }

  /**
   * Removes the tombstones and history of deleted keys now, and returns the number of removed tombstones. The service does this
   * automatically after an hour (by default), and when the bucket is full. Throws KvNotFoundError. Safe to retry.
   */
  async compactBucket(name: string, callOptions: CallOptions = {}): Promise<number> {
    checkOptions(callOptions, CALL_OPTIONS, "compactBucket");
    const request = { bucket: wellFormed(name, "The bucket's name") };
    const response = await this.rpc.unary(BucketService.method.compactBucket, request, callOptions);
    return Number(response.removed);
  }
}

/** Throws KvBucketDiffersError unless the bucket has the given settings. */
function checkSettings(info: BucketInfo, { name, ...settings }: CreateBucketOptions): void {
  const differences: BucketDifference[] = [];
  for (const [setting, given] of Object.entries(settings) as [
    keyof BucketSettings,
    string | number | undefined,
  ][]) {
    if (given === undefined) continue;
    // 0 stands for the default, which is 1 for the history.
    const expected = setting === "history" && given === 0 ? 1 : given;
    const actual = info[setting];
    if (expected !== actual) differences.push({ setting, expected, actual });
  }
  if (differences.length === 0) return;
  const list = differences.map(
    ({ setting, expected, actual }) =>
      `${setting} is ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`,
  );
  throw new KvBucketDiffersError(
    `The bucket ${JSON.stringify(name)} exists with other settings: ${list.join(", ")}. Change it with updateBucket, or delete it.`,
    { code: "failed_precondition", reason: "bucket_differs", bucket: name },
    differences,
  );
}

/** The given settings as message fields. Omitted ones stay unset, which means "unchanged". */
function settingFields(settings: BucketSettings): SettingFields {
  const fields: SettingFields = {};
  const { description, ttlSeconds, maxValueSize, maxBytes, history } = settings;
  if (description !== undefined) fields.description = wellFormed(description, "description");
  if (ttlSeconds !== undefined) fields.ttl = durationOf(ttlSeconds, "ttlSeconds", 1_000);
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
  if (bucket === undefined) throw new KvError("The response has no bucket.", { code: "internal" });
  return withJson({
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
  });
}
