/** Parses and formats durations, sizes and revisions. */
import { InvalidArgumentError } from "commander";

const MS_BY_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

const BYTES_BY_UNIT: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Parses `90s`, `30m`, `1h30m` or `7d`; a bare number is in seconds. Throws commander's InvalidArgumentError, as do all parsers here. */
export function parseDurationMs(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  if (!/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(text)) {
    throw new InvalidArgumentError("Expected a duration such as 500ms, 90s, 30m, 1h30m or 7d.");
  }
  let milliseconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    milliseconds += Number(count) * (MS_BY_UNIT[unit ?? ""] ?? 0);
  }
  return milliseconds;
}

/** A duration greater than 0, for time limits. */
export function parseTimeoutMs(text: string): number {
  const milliseconds = parseDurationMs(text);
  if (milliseconds <= 0) throw new InvalidArgumentError("Expected a duration of more than 0.");
  return milliseconds;
}

/** Parses `512`, `64KiB` or `10MB`. kB, MB and GB are powers of 1,000; KiB, MiB and GiB are powers of 1,024. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text);
  const factor = BYTES_BY_UNIT[match?.[2]?.toLowerCase() ?? "?"];
  const bytes = Number(match?.[1]) * (factor ?? NaN);
  if (!Number.isSafeInteger(bytes)) {
    throw new InvalidArgumentError(
      "Expected a size such as 512, 64KiB (1,024-byte units) or 10MB (1,000,000-byte units).",
    );
  }
  return bytes;
}

/** An integer of 1 or more. */
export function parseRevision(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) < 1n) {
    throw new InvalidArgumentError("Expected an integer of 1 or more.");
  }
  return BigInt(text);
}

/** As {@link parseRevision}, for counts. */
export function parseCount(text: string): number {
  return Number(parseRevision(text));
}

/** Formats 5,400 seconds as `1h30m`; 0, which means forever, as `-`. */
export function formatSeconds(seconds: number): string {
  if (seconds === 0) return "-";
  let restMs = Math.round(seconds * 1_000);
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const unitMs = MS_BY_UNIT[unit] ?? 1;
    const count = Math.floor(restMs / unitMs);
    if (count > 0) text += `${count}${unit}`;
    restMs -= count * unitMs;
  }
  return text;
}

/** Formats as `1.5 MiB`, or as `10 MB` for a whole number of megabytes. */
export function formatBytes(bytes: number): string {
  const isRoundOfThousands = bytes > 0 && bytes % 1_000_000 === 0 && bytes % 1_048_576 !== 0;
  const step = isRoundOfThousands ? 1_000 : 1_024;
  const units = step === 1_000 ? ["B", "kB", "MB", "GB", "TB"] : ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let index = 0;
  while (value >= step && index < units.length - 1) {
    value /= step;
    index++;
  }
  const digits = index === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits).replace(/\.0$/, "")} ${units[index] ?? ""}`;
}
