/** Converts between the records of a backup and the SDK's types. */
import { create } from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  type Timestamp,
  timestampDate,
  timestampFromDate,
  timestampMs,
} from "@bufbuild/protobuf/wkt";
import {
  type BackupEntry,
  BackupOperation,
  type BucketBegin,
} from "../../gen/ironflow/kv/backup/v1/backup_pb.js";
import type { BucketInfo, BucketSettings, Entry, ImportedEntry, Operation } from "@ironflow-kv/client";
import { type Frame, frameOf } from "./format.js";

const BACKUP_OPERATION: Readonly<Record<Operation, BackupOperation>> = {
  put: BackupOperation.PUT,
  delete: BackupOperation.DELETE,
  purge: BackupOperation.PURGE,
  expire: BackupOperation.EXPIRE,
};

export function headerFrame(backupId: string, buckets: readonly string[]): Frame {
  const createdAt = timestampFromDate(new Date());
  return frameOf({ case: "header", value: { backupId, createdAt, buckets: [...buckets] } });
}

export function bucketFrame(info: BucketInfo): Frame {
  const { name, description, maxValueSize, history } = info;
  return frameOf({
    case: "bucketBegin",
    value: {
      name,
      description,
      ...(info.ttlSeconds === 0 ? {} : { ttl: durationOf(info.ttlSeconds) }),
      maxValueSize,
      maxBytes: BigInt(info.maxBytes),
      history,
      createdAt: timestampFromDate(info.createdAt),
    },
  });
}

/** `hasTtls`: whether an import can restore a TTL of an entry. It can't in a history of several revisions, where only other programs set one. */
export function entryFrame(entry: Entry, hasTtls: boolean): Frame {
  const { key, value, revision, createdAt, operation, contentType, expiresAt, metadata } = entry;
  return frameOf({
    case: "entry",
    value: {
      key,
      value,
      revision,
      createdAt: timestampFromDate(createdAt),
      operation: BACKUP_OPERATION[operation],
      contentType,
      ...(expiresAt === undefined || !hasTtls ? {} : { expiresAt: timestampFromDate(expiresAt) }),
      metadata,
    },
  });
}

/** The entry that an import writes; undefined for an expiry, which can't be written: the key has no value in the restored bucket either. */
export function importedEntryOf(entry: BackupEntry): ImportedEntry | undefined {
  const { key, value, contentType, metadata } = entry;
  const expiresAt = entry.expiresAt && timestampDate(entry.expiresAt);
  switch (entry.operation) {
    case BackupOperation.PUT:
      return { key, value, contentType, operation: "put", expiresAt, metadata };
    case BackupOperation.DELETE:
      return { key, value, contentType, operation: "delete" };
    case BackupOperation.PURGE:
      return { key, value, contentType, operation: "purge" };
    default:
      return undefined;
  }
}

/** The settings of a bucket in a backup. */
export function settingsOf(begin: BucketBegin): Required<BucketSettings> {
  const { description, ttl, maxValueSize, maxBytes, history } = begin;
  return {
    description,
    ttlSeconds: ttl === undefined ? 0 : Number(ttl.seconds) + ttl.nanos / 1e9,
    maxValueSize,
    maxBytes: Number(maxBytes),
    history,
  };
}

/** Whether a bucket has these settings. */
export function hasSettings(info: BucketInfo, settings: Required<BucketSettings>): boolean {
  const names = Object.keys(settings) as (keyof BucketSettings)[];
  return names.every((name) => info[name] === settings[name]);
}

export function isSameTime(timestamp: Timestamp | undefined, date: Date): boolean {
  return timestamp !== undefined && timestampMs(timestamp) === date.getTime();
}

function durationOf(seconds: number): Duration {
  const whole = Math.trunc(seconds);
  return create(DurationSchema, {
    seconds: BigInt(whole),
    nanos: Math.round((seconds - whole) * 1_000) * 1_000_000,
  });
}
