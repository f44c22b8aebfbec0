/** Converts between protobuf numbers and times and JavaScript ones. */
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { KvInvalidArgumentError } from "./errors.js";

const UINT32_MAX = 2 ** 32 - 1;
const UINT64_MAX = 2n ** 64n - 1n;

/** A revision argument: a bigint or a safe integer. */
export type Revision = bigint | number;

export function dateOf(timestamp: Timestamp | undefined): Date {
  return new Date(timestamp === undefined ? 0 : millisecondsOfTimestamp(timestamp));
}

/** Milliseconds since 1970, rounded down. */
export function millisecondsOfTimestamp(timestamp: Timestamp): number {
  return Number(timestamp.seconds) * 1_000 + Math.floor(timestamp.nanos / 1_000_000);
}

export function timestampOf(date: Date, name: string): Timestamp {
  const timeMs = date.getTime();
  if (Number.isNaN(timeMs)) throw invalid(`${name} is an invalid Date.`);
  const seconds = Math.floor(timeMs / 1_000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (timeMs - seconds * 1_000) * 1_000_000 });
}

export function millisecondsOfDuration(duration: Duration): number {
  return Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}

/** A duration of `value` units, rounded to milliseconds. Throws KvInvalidArgumentError, which names the argument. */
export function durationOf(value: number, name: string, unitMs: number): Duration {
  const whole = Math.round(value * unitMs);
  if (!Number.isSafeInteger(whole) || value < 0) {
    throw invalid(`${name} is ${value}; it must be a duration of 0 or more.`);
  }
  const seconds = Math.trunc(whole / 1_000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: (whole - seconds * 1_000) * 1_000_000 });
}

/**
 * A revision of 1 or more. Refuses 0, which means "no condition" on the wire: a variable that happens to be 0 must not turn a
 * conditional delete into an unconditional one.
 */
export function revisionOf(value: Revision, name: string): bigint {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw invalid(`${name} is ${value}; it must be an integer of 1 or more.`);
  }
  const revision = BigInt(value);
  if (revision < 1n || revision > UINT64_MAX) {
    throw invalid(`${name} is ${String(value)}; it must be an integer of 1 or more.`);
  }
  return revision;
}

/** A TTL in seconds, rounded to milliseconds. */
export function ttlOf(seconds: number): Duration {
  return durationOf(seconds, "ttlSeconds", 1_000);
}

/** A copy of the metadata. Throws KvInvalidArgumentError for text that UTF-8 can't encode. */
export function metadataOf(metadata: Readonly<Record<string, string>> = {}): Record<string, string> {
  for (const [name, value] of Object.entries(metadata)) {
    wellFormed(name, "A metadata name");
    wellFormed(value, `The metadata value of ${JSON.stringify(name)}`);
  }
  return { ...metadata };
}

/** An unsigned 32-bit integer. */
export function uint32Of(value: number, name: string): number {
  if (!Number.isInteger(value) || value < 0 || value > UINT32_MAX) {
    throw invalid(`${name} is ${value}; it must be an integer from 0 to ${UINT32_MAX}.`);
  }
  return value;
}

/** An unsigned integer that is exact in JavaScript. */
export function uint64Of(value: number, name: string): bigint {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${name} is ${value}; it must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}.`);
  }
  return BigInt(value);
}

/** The text, without lone surrogates: UTF-8 encoding would replace them and yield another key. Throws KvInvalidArgumentError. */
export function wellFormed(text: string, name: string): string {
  if (typeof text !== "string") throw new TypeError(`${name} is not a string.`);
  if (!text.isWellFormed()) throw invalid(`${name} has a lone surrogate, which UTF-8 can't encode.`);
  return text;
}

function invalid(sentence: string): KvInvalidArgumentError {
  return new KvInvalidArgumentError(sentence, { code: "invalid_argument", reason: "invalid_argument" });
}

/** Selects the keys that match at least one filter, such as `user.*`, `user.>` or `user-*`. At most 32; none: all keys. */
export type Filters = string | readonly string[];

export function filterList(filters: Filters): string[] {
  const list = typeof filters === "string" ? [filters] : [...filters];
  return list.map((filter) => wellFormed(filter, "The filter"));
}
