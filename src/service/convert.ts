/** Converts between the contract's messages and the store's values. */
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  type Bucket,
  BucketSchema,
  type Entry as EntryMessage,
  EntrySchema,
  Durability as DurabilityEnum,
  Operation as OperationEnum,
  Storage,
} from "../../gen/ironflow/kv/v1/types_pb.js";
import { invalidArgument } from "../kv/errors.js";
import { splitBucketName } from "../kv/names.js";
import type { BucketInfo, Durability } from "../kv/bucket.js";
import type { Entry, Operation } from "../kv/entry.js";

/** The number of the operation in the contract. */
export function operationNumber(operation: Operation): OperationEnum {
  return OPERATION[operation];
}

const OPERATION: Readonly<Record<Operation, OperationEnum>> = {
  put: OperationEnum.PUT,
  delete: OperationEnum.DELETE,
  purge: OperationEnum.PURGE,
  expire: OperationEnum.EXPIRE,
};

/** The number of the durability in the contract. */
export function durabilityNumber(durability: Durability): DurabilityEnum {
  return DURABILITY[durability];
}

const DURABILITY: Readonly<Record<Durability, DurabilityEnum>> = {
  synced: DurabilityEnum.SYNCED,
  relaxed: DurabilityEnum.RELAXED,
  unknown: DurabilityEnum.UNKNOWN,
};

/** The message of an entry. */
export function entryMessage(entry: Entry): EntryMessage {
  const message = create(EntrySchema);
  message.key = entry.key;
  message.value = entry.value;
  message.revision = entry.revision;
  message.createdAt = timestampOf(entry.createdAtMs, entry.createdAtNanos);
  message.operation = OPERATION[entry.operation];
  message.contentType = entry.contentType;
  if (entry.expiresAtMs !== undefined)
    message.expiresAt = timestampOf(entry.expiresAtMs, entry.createdAtNanos);
  if (entry.metadata !== undefined) message.metadata = { ...entry.metadata };
  return message;
}

/** The message of a bucket, with its name within its environment. */
export function bucketMessage(info: BucketInfo): Bucket {
  const message = create(BucketSchema, {
    name: splitBucketName(info.name).name,
    description: info.description,
    maxValueSize: info.maxValueSize,
    maxBytes: BigInt(info.maxBytes),
    history: info.history,
    values: BigInt(info.values),
    bytes: BigInt(info.bytes),
    createdAt: timestampOf(info.createdAt.getTime(), 0),
    revision: info.revision,
    replicas: info.replicas,
    storage: info.storage === "memory" ? Storage.MEMORY : Storage.FILE,
    durability: DURABILITY[info.durability],
  });
  if (info.ttlMs > 0) message.ttl = durationOf(info.ttlMs);
  if (info.idempotencyWindowMs > 0) message.idempotencyWindow = durationOf(info.idempotencyWindowMs);
  return message;
}

/** A point in time, from milliseconds since 1970 and the nanoseconds within the millisecond. */
export function timestampOf(timeMs: number, nanosWithinMs: number): Timestamp {
  const message = create(TimestampSchema);
  const seconds = Math.floor(timeMs / 1_000);
  message.seconds = BigInt(seconds);
  message.nanos = (timeMs - seconds * 1_000) * 1_000_000 + nanosWithinMs;
  return message;
}

/** Milliseconds since 1970, rounded down. */
export function millisecondsOfTimestamp(timestamp: Timestamp): number {
  return Number(timestamp.seconds) * 1_000 + Math.floor(timestamp.nanos / 1_000_000);
}

/** A duration from whole milliseconds. */
export function durationOf(milliseconds: number): Duration {
  const seconds = Math.trunc(milliseconds / 1_000);
  return create(DurationSchema, {
    seconds: BigInt(seconds),
    nanos: Math.round((milliseconds - seconds * 1_000) * 1_000_000),
  });
}

/** Whole milliseconds of a duration, or undefined. Throws `invalid_argument` if it is negative or finer than a millisecond. */
export function millisecondsOf(duration: Duration | undefined, field: string): number | undefined {
  if (duration === undefined) return undefined;
  const milliseconds = Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
  if (milliseconds < 0) throw invalidArgument(`${field} is negative; it must be a duration of 0 or more.`);
  if (!Number.isSafeInteger(milliseconds)) {
    throw invalidArgument(`${field} is finer than a millisecond or too long; it must be whole milliseconds.`);
  }
  return milliseconds;
}

/** A count that must fit a JavaScript number exactly. Throws `invalid_argument`. */
export function safeNumber(value: bigint, field: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalidArgument(`${field} is ${value}; at most ${Number.MAX_SAFE_INTEGER} is allowed.`);
  }
  return Number(value);
}

/** A TTL in milliseconds, rounded up: the store rounds it up to seconds. */
export function ttlMsOf(ttl: Duration | undefined): number | undefined {
  return ttl === undefined ? undefined : Number(ttl.seconds) * 1_000 + Math.ceil(ttl.nanos / 1_000_000);
}
