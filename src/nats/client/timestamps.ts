/** Parses the server's timestamps. */

/** A time: milliseconds since 1970, and nanoseconds within the millisecond. */
export interface Moment {
  readonly ms: number;
  readonly nanos: number;
}

/** The length of `2006-01-02T15:04:05`. */
const SECONDS_LENGTH = 19;

/** Parses RFC 3339 with up to nine decimals, in UTC or with an offset. */
export function parseTimestamp(text: string): Moment {
  if (text.charCodeAt(SECONDS_LENGTH) !== DOT) return { ms: Date.parse(text), nanos: 0 };
  let end = SECONDS_LENGTH + 1;
  while (isDigit(text.charCodeAt(end))) end++;
  const decimals = text.slice(SECONDS_LENGTH + 1, end).padEnd(9, "0");
  const seconds = parseSeconds(text.slice(0, SECONDS_LENGTH), text.slice(end));
  return { ms: seconds + Number(decimals.slice(0, 3)), nanos: Number(decimals.slice(3, 9)) };
}

/** The last parsed second: consecutive messages often share it, and `Date.parse` dominates the cost. */
const last = { text: "", zone: "", ms: NaN };

function parseSeconds(text: string, zone: string): number {
  if (text !== last.text || zone !== last.zone)
    Object.assign(last, { text, zone, ms: Date.parse(text + zone) });
  return last.ms;
}

const DOT = 0x2e;

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
