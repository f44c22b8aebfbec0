/** A bucket's configuration as a stream's, exactly as NATS KV clients make it (ADR-8), and back; with every number checked. */
import { randomUUID } from "node:crypto";
import { type KvError, invalidArgument } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { type BucketOwner, streamName, subjectPrefix } from "../../kv/names.js";
import type { BucketChange, BucketConfig, BucketInfo, Durability } from "../../kv/store.js";
import { byteLimitConfig, heldBytes, maxBytesOf } from "./headroom.js";
import type { StreamConfig, StreamInfo } from "../client/jetstream-api.js";
import { republishConfig } from "./republish.js";

/** Names one act of creation: JetStream answers "done" to a second create with the same configuration, and this makes them differ. */
export const CREATION_ID_KEY = "ironflow.creation_id";
/** The id of the API key that made the bucket, for the limit of buckets for each; none where no key was needed, or the first one was used. */
export const CREATED_BY_KEY = "ironflow.created_by";
/** Names the last change of the configuration, so that who made it can see whether it is in place. */
export const CHANGE_ID_KEY = "ironflow.change_id";
/** When the duplicate window was last made longer: writes from before it may have been forgotten earlier than it says. */
const WINDOW_EXTENDED_KEY = "ironflow.window_extended_at";
/** The exact `max_value_size`: the stream's own limit counts headers too. */
const VALUE_SIZE_KEY = "ironflow.max_value_size";

/** Room for headers beside the largest value: ours take less than 640 bytes (message id, condition, request, content type, operation). */
export const HEADER_BYTES_MAX = 1_024;
const NANOS_PER_MS = 1_000_000;
/** Every tombstone up to this sequence may have been compacted. */
const COMPACTED_KEY = "ironflow.compacted_to";
/** When the latest compacted tombstone was stored. */
const COMPACTED_TIME_KEY = "ironflow.compacted_time_ms";
/**
 * How long the marker lives that the storage leaves where an entry expired; never longer than the bucket's entries do. It is what a watch
 * that was away sees of the expiry, so this is how long it may be away and still go on (watch/resume-rule.ts). Not longer, as NATS KV
 * clients for JavaScript take a marker for a put of an empty value while it lives.
 */
const EXPIRY_MARKER_MS = 300_000;
/** The same where it would raise the lifetimes that other programs give their entries: long enough for a live watch to see it. */
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

/** When the window was last made longer, in milliseconds since 1970; 0: never. */
export function windowExtendedAtMs(config: StreamConfig): number {
  const text = config.metadata?.[WINDOW_EXTENDED_KEY];
  return text === undefined ? 0 : Date.parse(text);
}

/** What the service knows of a bucket from its stream; the number of live keys is found elsewhere. */
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

/** Whether the bucket's writes are synced as the server's configuration says. Another program may have asked for less (ADR-8, ADR-42). */
function isSyncedAtMost(config: StreamConfig): boolean {
  return config.storage !== "memory" && config.persist_mode !== "async";
}

/** The largest value that a bucket takes, in bytes; 0 for no limit of its own. */
export function valueSizeOf(config: StreamConfig): number {
  const messageSize = Math.max(0, config.max_msg_size ?? 0);
  const exact = Number(config.metadata?.[VALUE_SIZE_KEY] ?? Number.NaN);
  // Another program may have changed the stream's limit since: then that one counts.
  return messageSize === exact + HEADER_BYTES_MAX ? exact : messageSize;
}

/**
 * Whether tombstones are written without an expiry, to be compacted with what is below them. In a history of several revisions another
 * program's entry may be exempt from the `ttl`, or the `ttl` may be set later: a tombstone that expired would bring the entry back.
 */
export function keepsTombstones({ max_msgs_per_subject, allow_msg_ttl }: StreamConfig): boolean {
  return max_msgs_per_subject !== 1 && allow_msg_ttl === true;
}

/** Up to which revision tombstones may be gone; 0: none is. A watch that missed something before that can't go on. */
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
};

/** The fields of a stream that a change of its bucket touches. */
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

/** JetStream accepts no window longer than the TTL of the entries. */
function ageConfig(ttlMs: number, windowMsMax: number): Partial<StreamConfig> {
  const windowMs = ttlMs === 0 ? windowMsMax : Math.min(ttlMs, windowMsMax);
  return {
    max_age: ttlMs * NANOS_PER_MS,
    duplicate_window: windowMs * NANOS_PER_MS,
  };
}

/**
 * Markers where entries expire: by the bucket's ttl, or by a lifetime that another program gave them. In a history of several revisions
 * the storage raises shorter lifetimes to the marker's (nats-server 2.15, `processJetStreamMsg`).
 */
function markerConfig(ttlMs: number, history: number): Partial<StreamConfig> {
  const markerMs = ttlMs === 0 && history > 1 ? SHORT_MARKER_MS : EXPIRY_MARKER_MS;
  return {
    subject_delete_marker_ttl: markerMs * NANOS_PER_MS,
    // Markers need both; other programs make buckets without the first.
    allow_msg_ttl: true,
    allow_rollup_hdrs: true,
  };
}

type Refuse = (sentence: string) => KvError;

function checkDescription(description: string, limits: Limits, refuse: Refuse): void {
  const bytes = Buffer.byteLength(description);
  if (bytes > limits.descriptionBytesMax) {
    throw refuse(`The description has ${bytes} bytes; at most ${limits.descriptionBytesMax} are allowed.`);
  }
  if (!description.isWellFormed()) throw refuse("The description is not well-formed Unicode.");
}

function checkTtl(ttlMs: number, limits: Limits, refuse: Refuse): void {
  if (ttlMs === 0) return;
  if (Number.isInteger(ttlMs) && ttlMs >= limits.ttlMsMin && ttlMs <= limits.ttlMsMax) return;
  const [least, most] = [limits.ttlMsMin / 1_000, limits.ttlMsMax / 1_000];
  throw refuse(
    `The ttl is ${ttlMs / 1_000} seconds; it must be ${least} to ${most} seconds in whole milliseconds, or 0 for ever.`,
  );
}

/** 0 always stands for the default. */
function checkNumber(name: string, value: number, least: number, most: number, refuse: Refuse): void {
  if (value === 0 || (Number.isSafeInteger(value) && value >= least && value <= most)) return;
  throw refuse(
    `The ${name} is ${value}; it must be a whole number from ${least} to ${most}, or 0 for the default.`,
  );
}
