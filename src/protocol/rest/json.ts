/** Writes the JSON of the REST bridge: revisions and sizes are numbers with all digits, times are RFC 3339. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** Input of {@link writeJson}. Undefined members are omitted. */
export type JsonShape =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly JsonShape[]
  | { readonly [name: string]: JsonShape | undefined };

/** Like `JSON.stringify`, but also writes a bigint, as a number with all its digits. */
export function writeJson(value: JsonShape): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (isList(value)) return `[${value.map(writeJson).join(",")}]`;
  let text = "";
  for (const name in value) {
    const member = value[name];
    if (member === undefined) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${writeJson(member)}`;
  }
  return `{${text}}`;
}

function isList(value: object): value is readonly JsonShape[] {
  return Array.isArray(value);
}

const DAY_SECONDS = 86_400;
const TWO_DIGITS = Array.from({ length: 60 }, (_, number) => number.toString().padStart(2, "0"));
/** The last day written, such as `2026-11-23T`: most entries of a busy bucket share one. */
let knownDay = NaN;
let knownDayText = "";

/**
 * RFC 3339 in UTC, with milliseconds, or with nanoseconds if they are not whole milliseconds. Avoids `Date`, which would cost as much as the
 * rest of an entry's JSON.
 */
export function writeTime(time: Timestamp): string {
  const seconds = Number(time.seconds);
  const day = Math.floor(seconds / DAY_SECONDS);
  if (day !== knownDay) {
    knownDayText = new Date(day * DAY_SECONDS * 1_000).toISOString().slice(0, -"00:00:00.000Z".length);
    knownDay = day;
  }
  const second = seconds - day * DAY_SECONDS;
  const minute = Math.floor(second / 60);
  const milliseconds = time.nanos / 1_000_000;
  // The leading 1, cut off below, preserves leading zeros.
  const fraction = Number.isInteger(milliseconds) ? 1_000 + milliseconds : 1_000_000_000 + time.nanos;
  const clock = `${TWO_DIGITS[Math.floor(minute / 60)]}:${TWO_DIGITS[minute % 60]}:${TWO_DIGITS[second % 60]}`;
  return `${knownDayText}${clock}.${fraction.toString().slice(1)}Z`;
}
