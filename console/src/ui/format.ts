/** Numbers as people read and write them. */
const COUNT = new Intl.NumberFormat("en");
const SIZE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const SIZE_FACTORS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  kib: 1024,
  m: 1e6,
  mb: 1e6,
  mib: 1024 ** 2,
  g: 1e9,
  gb: 1e9,
  gib: 1024 ** 3,
  t: 1e12,
  tb: 1e12,
  tib: 1024 ** 4,
};
const TIME_UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** Such as `1,234,567`. */
export function formatCount(count: number | bigint): string {
  return COUNT.format(count);
}

/** Such as `1 key` or `1,234 keys`. */
export function formatKeys(count: number | bigint): string {
  return `${formatCount(count)} ${Number(count) === 1 ? "key" : "keys"}`;
}

/** Such as `512 B` or `17.2 MB`. */
export function formatBytes(bytes: number | bigint): string {
  let size = Number(bytes);
  let unit = 0;
  // 999.95 and more would be shown as 1000.
  while (size >= (unit === 0 ? 1_000 : 999.95) && unit < SIZE_UNITS.length - 1) {
    size /= 1_000;
    unit++;
  }
  const digits = unit === 0 || size >= 100 || Number.isInteger(size) ? 0 : 1;
  return `${size.toFixed(digits).replace(/\.0$/, "")} ${SIZE_UNITS[unit] ?? ""}`;
}

/** Such as `1h`, `1h 30m` or `7d`. */
export function formatSeconds(seconds: number): string {
  if (seconds > 0 && seconds < 1) return `${Math.round(seconds * 1_000)}ms`;
  let left = Math.round(seconds);
  const parts: string[] = [];
  for (const [unit, size] of TIME_UNITS) {
    const whole = Math.floor(left / size);
    if (whole > 0) parts.push(`${whole}${unit}`);
    left -= whole * size;
  }
  return parts.length === 0 ? "0s" : parts.slice(0, 2).join(" ");
}

/** Reads `90s`, `1h 30m` or `7d`. Empty: 0. Undefined: not a duration. */
export function parseSeconds(text: string): number | undefined {
  const trimmed = text.trim().toLowerCase();
  if (trimmed === "") return 0;
  if (!/^(\d+(\.\d+)?\s*[dhms]\s*)+$/.test(trimmed)) return undefined;
  const sizes = new Map<string, number>(TIME_UNITS);
  let seconds = 0;
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)\s*([dhms])/g))
    seconds += Number(amount) * (sizes.get(unit ?? "") ?? 0);
  return seconds;
}

/** Reads `512`, `17 MB` or `1 GiB`. Empty: 0. Undefined: not a size. */
export function parseBytes(text: string): number | undefined {
  const trimmed = text.trim().toLowerCase();
  if (trimmed === "") return 0;
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(trimmed) ?? [];
  const factor = SIZE_FACTORS[unit ?? ""];
  return amount === undefined || factor === undefined ? undefined : Math.round(Number(amount) * factor);
}

/** Such as `3 s ago` or `2 days ago`; a date if it is long ago. */
export function formatAgo(timeMs: number, nowMs = Date.now()): string {
  const seconds = Math.max(0, Math.round((nowMs - timeMs) / 1_000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  if (seconds < 30 * 86_400) return `${Math.floor(seconds / 86_400)} d ago`;
  return new Date(timeMs).toISOString().slice(0, 10);
}

/** Such as `2026-11-28 21:40:50` in the local time zone. */
export function formatTime(timeMs: number): string {
  const local = new Date(timeMs - new Date(timeMs).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace("T", " ");
}
