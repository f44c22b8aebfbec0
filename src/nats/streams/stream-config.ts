/** Converts a bucket's configuration to a stream's, exactly as NATS KV clients do (ADR-8), and back. Validates every field. */
import { randomUUID } from "node:crypto";
import { type KvError, invalidArgument } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { type BucketOwner, streamName, subjectPrefix } from "../../kv/names.js";
import type { BucketChange, BucketConfig, BucketInfo, Durability } from "../../kv/bucket.js";
import { byteLimitConfig, heldBytes, maxBytesOf } from "./headroom.js";
import type { StreamConfig, StreamInfo } from "../client/jetstream-api.js";
import { republishConfig } from "./republish.js";

/** A unique ID per create request: JetStream accepts a second create with the same configuration, and the ID makes them differ. */
export const CREATION_ID_KEY = "ironflow.creation_id";
/** The ID of the API key that created the bucket, for BUCKETS_PER_API_KEY_MAX; absent for anonymous callers and IRONFLOW_API_KEY. */
export const CREATED_BY_KEY = "ironflow.created_by";
/** A unique ID of the last update, with which the updating instance checks whether its update was applied. */
export const CHANGE_ID_KEY = "ironflow.change_id";
/** When the duplicate window was last extended. The shorter window applied to writes before that time. */
const WINDOW_EXTENDED_KEY = "ironflow.window_extended_at";
/** The exact `max_value_size`. The stream's limit includes headers. */
const VALUE_SIZE_KEY = "ironflow.max_value_size";

/** The allowance for headers in addition to the value. The service's headers (message ID, condition, request, batch, content type, operation, TTL) are shorter than 780 bytes. Metadata counts as part of the value. */
export const HEADER_BYTES_MAX = 1_024;
const NANOS_PER_MS = 1_000_000;
/** Every tombstone up to this sequence may have been compacted. */
const COMPACTED_KEY = "ironflow.compacted_to";
/** When the latest compacted tombstone was stored. */
const COMPACTED_TIME_KEY = "ironflow.compacted_time_ms";
/**
 * How long the marker of an expired entry lives, at most the bucket's TTL. A resuming watch learns of expiries from markers, so this is also
 * how long a watch may be disconnected and still resume (watch/resume-rule.ts). Not longer, because NATS KV clients for JavaScript show a
 * marker as a put of an empty value.
 */
const EXPIRY_MARKER_MS = 300_000;
/** The same if it would raise the TTLs that other programs set on entries. Long enough for a live watch to see the marker. */
const SHORT_MARKER_MS = 10_000;
const INT32_MAX = 2_147_483_647;

/** The configuration of a new bucket's stream. Throws `invalid_argument`. */
export function streamConfigOf(
  bucket: BucketConfig,
  limits: Limits,
  replicas: number,
  { owner, createdBy }: { readonly owner?: BucketOwner; readonly createdBy?: string | undefined } = {},
): StreamConfig {
  const { name } = bucket;
  const stream = streamName(name, owner);
  const prefix = subjectPrefix(name, owner);
  return {
    ...FIXED_CONFIG,
    ...markerConfig(bucket.ttlMs ?? 0, bucket.history ?? 0),
    name: stream,
    subjects: [`${prefix}>`],
    republish: republishConfig(stream, prefix),
    num_replicas: replicas,
    ...changedConfig(
      {
        description: bucket.description ?? "",
        ttlMs: bucket.ttlMs ?? 0,
        maxValueSize: bucket.maxValueSize ?? 0,
        maxBytes: bucket.maxBytes ?? 0,
        history: bucket.history ?? 0,
      },
      {
        [CREATION_ID_KEY]: randomUUID(),
        ...(createdBy === undefined ? {} : { [CREATED_BY_KEY]: createdBy }),
      },
      name,
      limits,
      0,
    ),
  };
}

/** The stream's configuration with the change applied; all else as it was. `usedBytes`: what the bucket holds. Throws `invalid_argument`. */
export function updatedConfig(
  current: StreamConfig,
  bucket: string,
  change: BucketChange,
  limits: Limits,
  usedBytes: number,
): StreamConfig {
  const held = heldBytes(current, usedBytes);
  const changed = { ...current, ...changedConfig(change, current.metadata ?? {}, bucket, limits, held) };
  const extended = windowMsOf(changed) > windowMsOf(current) ? withWindowExtended(changed) : changed;
  if (change.ttlMs === undefined && change.history === undefined) return extended;
  const ttlMs = (changed.max_age ?? 0) / NANOS_PER_MS;
  return { ...extended, ...markerConfig(ttlMs, changed.max_msgs_per_subject ?? 1) };
}

function withWindowExtended(config: StreamConfig): StreamConfig {
  return { ...config, metadata: { ...config.metadata, [WINDOW_EXTENDED_KEY]: new Date().toISOString() } };
}

/** How long the storage remembers the writes that it took, in milliseconds. */
export function windowMsOf(config: StreamConfig): number {
  return (config.duplicate_window ?? 0) / NANOS_PER_MS;
}

/** When the window was last extended, in milliseconds since 1970; 0: never. */
export function windowExtendedAtMs(config: StreamConfig): number {
  const text = config.metadata?.[WINDOW_EXTENDED_KEY];
  return text === undefined ? 0 : Date.parse(text);
}

/** A bucket's info from its stream's. `values`: the number of live keys, which the stream does not have. */
export function bucketInfoOf(
  bucket: string,
  info: StreamInfo,
  values: number,
  durability: Durability,
): BucketInfo {
  const { config, state } = info;
  return {
    name: bucket,
    description: config.description ?? "",
    ttlMs: Math.round((config.max_age ?? 0) / NANOS_PER_MS),
    maxValueSize: valueSizeOf(config),
    maxBytes: maxBytesOf(config),
    history: Math.max(1, config.max_msgs_per_subject ?? 1),
    idempotencyWindowMs: Math.round(windowMsOf(config)),
    values,
    bytes: state.bytes,
    createdAt: new Date(info.created),
    revision: BigInt(state.last_seq),
    replicas: config.num_replicas ?? 1,
    storage: config.storage === "memory" ? "memory" : "file",
    durability: isSyncedAtMost(config) ? durability : "relaxed",
  };
}

/** Whether the server's sync configuration applies to the bucket. Another program may have requested less (ADR-8, ADR-42). */
export function isSyncedAtMost(config: StreamConfig): boolean {
  return config.storage !== "memory" && config.persist_mode !== "async";
}

/** The bucket's limit on the size of a value, in bytes; 0: none. */
export function valueSizeOf(config: StreamConfig): number {
  const messageSize = Math.max(0, config.max_msg_size ?? 0);
  const exact = Number(config.metadata?.[VALUE_SIZE_KEY] ?? Number.NaN);
  // If another program has changed the stream's limit since, that limit applies.
  return messageSize === exact + HEADER_BYTES_MAX ? exact : messageSize;
}

/**
 * Whether tombstones are written without an expiry, and are compacted together with the revisions below them. In a history of several
 * revisions, another program's entry may be exempt from the TTL, or the TTL may be set later: an expired tombstone would expose that entry.
 */
export function keepsTombstones({ max_msgs_per_subject, allow_msg_ttl }: StreamConfig): boolean {
  return max_msgs_per_subject !== 1 && allow_msg_ttl === true;
}

/** Whether the stream accepts messages with a TTL of their own, and leaves a marker when they expire. Other programs may not request it. */
export function allowsEntryTtl(config: StreamConfig): boolean {
  return (
    config.allow_msg_ttl === true &&
    config.allow_rollup_hdrs === true &&
    (config.subject_delete_marker_ttl ?? 0) > 0
  );
}

/** The stream's configuration, with TTLs of messages allowed. */
export function withEntryTtl(config: StreamConfig): StreamConfig {
  const ttlMs = (config.max_age ?? 0) / NANOS_PER_MS;
  return { ...config, ...markerConfig(ttlMs, config.max_msgs_per_subject ?? 1) };
}

/** The revision up to which tombstones may have been compacted; 0: none. A watch can't resume from before it. */
export function compactedTo({ metadata }: StreamConfig): number {
  return Number(metadata?.[COMPACTED_KEY] ?? 0);
}

/** When the latest of them was stored, in milliseconds since 1970; after that every tombstone is still there. */
export function compactedTimeMs({ metadata }: StreamConfig): number {
  // A copy of an earlier version does not say: it may be just now.
  if (metadata?.[COMPACTED_KEY] === undefined) return 0;
  return Number(metadata[COMPACTED_TIME_KEY] ?? Infinity);
}

export function withCompactedTo(config: StreamConfig, sequence: number, timeMs: number): StreamConfig {
  const isFirst = config.metadata?.[COMPACTED_KEY] === undefined;
  const latestMs = isFirst ? timeMs : Math.max(compactedTimeMs(config), timeMs);
  const marks = {
    [COMPACTED_KEY]: String(Math.max(compactedTo(config), sequence)),
    [COMPACTED_TIME_KEY]: String(latestMs),
  };
  return { ...config, metadata: { ...config.metadata, ...marks } };
}

const FIXED_CONFIG = {
  retention: "limits",
  storage: "file" as const,
  discard: "new",
  max_consumers: -1,
  max_msgs: -1,
  allow_rollup_hdrs: true,
  deny_delete: true,
  deny_purge: false,
  allow_direct: true,
  allow_msg_ttl: true,
  allow_atomic: true,
};

/** The stream's fields that an update of the bucket changes. */
function changedConfig(
  change: BucketChange,
  metadata: Readonly<Record<string, string>>,
  bucket: string,
  limits: Limits,
  held: number,
): Partial<StreamConfig> {
  const { description, ttlMs, maxValueSize, maxBytes, history } = change;
  const refuse = (sentence: string): KvError => invalidArgument(sentence, { bucket });
  let changed: Partial<StreamConfig> = { metadata };
  if (description !== undefined) {
    checkDescription(description, limits, refuse);
    changed = { ...changed, description };
  }
  if (ttlMs !== undefined) {
    checkTtl(ttlMs, limits, refuse);
    changed = { ...changed, ...ageConfig(ttlMs, limits.idempotencyWindowMs) };
  }
  if (history !== undefined) {
    checkNumber("history", history, 1, limits.historyMax, refuse);
    changed = { ...changed, max_msgs_per_subject: history === 0 ? 1 : history };
  }
  if (maxBytes !== undefined) {
    checkNumber("max_bytes", maxBytes, limits.bucketBytesMin, Number.MAX_SAFE_INTEGER, refuse);
    changed = { ...changed, ...byteLimitConfig(maxBytes, held, metadata) };
  }
  if (maxValueSize === undefined) return changed;
  checkNumber("max_value_size", maxValueSize, 1, INT32_MAX - HEADER_BYTES_MAX, refuse);
  return {
    ...changed,
    max_msg_size: maxValueSize === 0 ? -1 : maxValueSize + HEADER_BYTES_MAX,
    metadata: { ...changed.metadata, [VALUE_SIZE_KEY]: maxValueSize.toString() },
  };
}

/** JetStream rejects a window that is longer than the TTL. */
function ageConfig(ttlMs: number, windowMsMax: number): Partial<StreamConfig> {
  const windowMs = ttlMs === 0 ? windowMsMax : Math.min(ttlMs, windowMsMax);
  return {
    max_age: ttlMs * NANOS_PER_MS,
    duplicate_window: windowMs * NANOS_PER_MS,
  };
}

/**
 * The configuration of markers for expired entries: by the bucket's TTL, or by one that another program set. In a history of several
 * revisions, the storage raises shorter TTLs to the marker's (nats-server 2.15, `processJetStreamMsg`).
 */
function markerConfig(ttlMs: number, history: number): Partial<StreamConfig> {
  const markerMs = ttlMs === 0 && history > 1 ? SHORT_MARKER_MS : EXPIRY_MARKER_MS;
  return {
    subject_delete_marker_ttl: markerMs * NANOS_PER_MS,
    // Markers need both. Other programs create buckets without the first.
    allow_msg_ttl: true,
    allow_rollup_hdrs: true,
  };
}

type Refuse = (sentence: string) => KvError;

function checkDescription(description: string, limits: Limits, refuse: Refuse): void {
  const bytes = Buffer.byteLength(description);
  if (bytes > limits.descriptionBytesMax) {
    throw refuse(`The description has ${bytes} bytes; it must have at most ${limits.descriptionBytesMax}.`);
  }
  if (!description.isWellFormed())
    throw refuse("The description has a lone surrogate; it must be well-formed Unicode.");
}

function checkTtl(ttlMs: number, limits: Limits, refuse: Refuse): void {
  if (ttlMs === 0) return;
  if (Number.isInteger(ttlMs) && ttlMs >= limits.ttlMsMin && ttlMs <= limits.ttlMsMax) return;
  const [least, most] = [limits.ttlMsMin / 1_000, limits.ttlMsMax / 1_000];
  throw refuse(
    `The ttl is ${ttlMs / 1_000} seconds; it must be ${least} to ${most} seconds in whole milliseconds, or 0 for no expiry.`,
  );
}

/** 0 always means the default. */
function checkNumber(name: string, value: number, least: number, most: number, refuse: Refuse): void {
  if (value === 0 || (Number.isSafeInteger(value) && value >= least && value <= most)) return;
  throw refuse(
    `The ${name} is ${value}; it must be a whole number from ${least} to ${most}, or 0 for the default.`,
  );
}
