/** Between the contract's numbers and times and the ones that JavaScript programs use. */
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { KvInvalidArgumentError } from "./errors.js";

const UINT32_MAX = 2 ** 32 - 1;
const UINT64_MAX = 2n ** 64n - 1n;

/** A revision as the caller may give it: a bigint, or a number that is exact. */
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

/** A span from milliseconds; finer parts are rounded. */
export function durationOf(milliseconds: number, name: string): Duration {
  const whole = Math.round(milliseconds);
  if (!Number.isSafeInteger(whole) || milliseconds < 0) {
    throw invalid(`${name} is ${milliseconds}; it takes a span of time of 0 or more.`);
  }
  const seconds = Math.trunc(whole / 1_000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: (whole - seconds * 1_000) * 1_000_000 });
}

/**
 * A revision of 1 or more. 0 is refused although the wire knows it: there it means "no condition", and a variable that happens to be 0
 * must not turn a conditional delete into an unconditional one.
 */
export function revisionOf(value: Revision, name: string): bigint {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw invalid(`${name} is ${value}; it takes a whole number of 1 or more.`);
  }
  const revision = BigInt(value);
  if (revision < 1n || revision > UINT64_MAX) {
    throw invalid(`${name} is ${String(value)}; it takes a whole number of 1 or more.`);
  }
  return revision;
}

/** A whole number that fits 32 bits. */
export function uint32Of(value: number, name: string): number {
  if (!Number.isInteger(value) || value < 0 || value > UINT32_MAX) {
    throw invalid(`${name} is ${value}; it takes a whole number from 0 to ${UINT32_MAX}.`);
  }
  return value;
}

/** A whole number that fits 64 bits. */
export function uint64Of(value: number, name: string): bigint {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${name} is ${value}; it takes a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`);
  }
  return BigInt(value);
}

/** Text that UTF-8 can carry: half a surrogate pair would silently become another character, and so another key. */
export function wellFormed(text: string, name: string): string {
  if (typeof text !== "string") throw new TypeError(`${name} is not a string.`);
  if (!text.isWellFormed()) throw invalid(`${name} has half of a surrogate pair, which UTF-8 can't carry.`);
  return text;
}

function invalid(sentence: string): KvInvalidArgumentError {
  return new KvInvalidArgumentError(sentence, { code: "invalid_argument", reason: "invalid_argument" });
}
