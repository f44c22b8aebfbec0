/** The live keys of a bucket: how many there are, and which, page by page. */
import { MATCH_ALL, matchesAny, parseFilters, serverSubjects } from "../kv/filter.js";
import type { Limits } from "../kv/limits.js";
import { escapeKey, streamName, subjectPrefix, unescapeKey } from "../kv/names.js";
import type { CallScope, Consistency, Page, PageRequest } from "../kv/store.js";
import { keyJsonBytes, PageRoom } from "../kv/page-room.js";
import { checkIncarnation, pageLimit, readPageToken, writePageToken } from "../kv/page-token.js";
import { serverTimeMs, type StreamInfo } from "./jetstream-api.js";
import { subjectsOf } from "./key-census.js";
import { liveUntilMs, type ScannedSubjects, type ScanOptions, scanSubjects } from "./key-scan.js";
import { existing, type Place } from "./newest.js";
import { coveringSubject } from "./watch/covering-subject.js";

/** Keys in byte order, as the bucket was at one moment. */
type SortedKeys = readonly string[];

interface CachedScan {
  readonly state: string;
  readonly keys: SortedKeys;
  /** When the first of the keys expires, by the storage's clock. */
  readonly validUntilMs: number;
}

/** Keys kept for the next page or count, over all buckets: some hundred bytes each. */
const CACHED_KEYS_MAX = 500_000;
/** Listings kept, however small. */
const CACHED_SCANS_MAX = 2_000;
/** Requests at once for keys that a scan passed over. */
const LOOKUPS_MAX = 256;
const NANOS_PER_MS = 1_000_000;

export class LiveKeys {
  private readonly cache = new Map<string, CachedScan>();
  private cachedKeys = 0;

  constructor(private readonly options: ScanOptions & { readonly limits: Limits }) {}

  /** The number of live keys, exactly. */
  async count(place: Place, info: StreamInfo, scope: CallScope): Promise<number> {
    return (await this.keys(place, [">"], info, scope)).length;
  }

  /** A page of the keys that match. */
  async list(
    bucket: string,
    filterTexts: readonly string[],
    page: PageRequest,
    scope: CallScope,
    consistency: Consistency = "strong",
  ): Promise<Page<string>> {
    const place = { bucket, stream: streamName(bucket) };
    const filters = parseFilters(filterTexts);
    const limit = pageLimit(page.limit, this.options.limits.keysPageMax);
    const listing = `keys ${bucket} ${JSON.stringify(filters.map((filter) => filter.text).sort())}`;
    const token = readPageToken(page.pageToken, listing);
    const { requests, reader } = this.options;
    const info = await (consistency === "strong"
      ? reader.stream(place, scope)
      : existing(requests, place, scope));
    checkIncarnation(token, info.created);
    const keys = await this.keys(place, serverSubjects(filters), info, scope, consistency);
    const isAll = filters.every((filter) => filter === MATCH_ALL);
    const items: string[] = [];
    const room = new PageRoom(limit, this.options.limits.pageBytesMax);
    for (let index = token === undefined ? 0 : firstAfter(keys, token.after); index < keys.length; index++) {
      const key = keys[index] ?? "";
      if (!isAll && !matchesAny(filters, escapeKey(key))) continue;
      if (!room.take(keyJsonBytes(key)))
        return { items, nextPageToken: writePageToken(listing, items.at(-1) ?? "", info.created) };
      items.push(key);
    }
    return { items, nextPageToken: "" };
  }

  /** The keys that the subjects cover, or more: what the storage leaves open is matched by the caller. */
  private async keys(
    place: Place,
    subjects: readonly string[],
    info: StreamInfo,
    scope: CallScope,
    consistency: Consistency = "strong",
  ): Promise<SortedKeys> {
    if (info.state.messages === 0) return [];
    const name = `${place.stream} ${subjects.join(" ")}`;
    const state = stateOf(info);
    const nowMs = serverTimeMs(info);
    const ageMsMax = (info.config.max_age ?? 0) / NANOS_PER_MS;
    const cached = this.cached(name, state, nowMs) ?? this.cached(`${place.stream} >`, state, nowMs);
    if (cached !== undefined) return cached;
    const fullSubjects = subjects.map((subject) => subjectPrefix(place.bucket) + subject);
    if (consistency === "eventual") {
      const scanned = await scanSubjects(this.options, place, fullSubjects, ageMsMax, scope, consistency);
      return liveKeysOf(place, scanned, nowMs).keys;
    }
    for (let isLastTry = false; ; isLastTry = true) {
      const scanned = await scanSubjects(this.options, place, fullSubjects, ageMsMax, scope);
      const after = await existing(this.options.requests, place, scope);
      // What was scanned while something changed is good for this answer, with what it passed over, but not for the next one.
      if (stateOf(after) !== state) {
        const whole = await this.withPassedOver(place, fullSubjects, scanned, ageMsMax, scope);
        return liveKeysOf(place, whole, serverTimeMs(after)).keys;
      }
      const live = liveKeysOf(place, scanned, serverTimeMs(after));
      // The stream's own count of subjects proves that none was missed; the scan relies on the server's count of what is to come.
      if (isLastTry || !subjects.includes(">") || after.state.num_subjects === scanned.size) {
        this.keep(name, { state, ...live });
        return live.keys;
      }
    }
  }

  /** The scan, and what it does not have of what is stored: see key-census.ts. */
  private async withPassedOver(
    place: Place,
    subjects: readonly string[],
    scanned: ScannedSubjects,
    ageMsMax: number,
    scope: CallScope,
  ): Promise<ScannedSubjects> {
    const { requests, reader } = this.options;
    const whole = new Map(scanned);
    const passedOver: string[] = [];
    for (const subject of await subjectsOf(requests, place, coveringSubject(subjects), scope))
      if (!scanned.has(subject)) passedOver.push(subject);
    while (passedOver.length > 0) {
      const lookUp = async (subject: string): Promise<void> => {
        const message = await reader.newest(place, subject, scope);
        if (message !== undefined) whole.set(subject, liveUntilMs(message.headers, message.timeMs, ageMsMax));
      };
      await Promise.all(passedOver.splice(-LOOKUPS_MAX).map(lookUp));
    }
    return whole;
  }

  private cached(name: string, state: string, nowMs: number): SortedKeys | undefined {
    const cached = this.cache.get(name);
    if (cached?.state !== state || nowMs >= cached.validUntilMs) return undefined;
    // The most recently used stand last.
    this.cache.delete(name);
    this.cache.set(name, cached);
    return cached.keys;
  }

  private keep(name: string, scan: CachedScan): void {
    this.drop(name);
    if (scan.keys.length > CACHED_KEYS_MAX) return;
    this.cache.set(name, scan);
    this.cachedKeys += scan.keys.length;
    for (const oldest of this.cache.keys()) {
      if (this.cachedKeys <= CACHED_KEYS_MAX && this.cache.size <= CACHED_SCANS_MAX) return;
      this.drop(oldest);
    }
  }

  private drop(name: string): void {
    this.cachedKeys -= this.cache.get(name)?.keys.length ?? 0;
    this.cache.delete(name);
  }
}

/** The keys that are live at this time, and until when that holds if nothing is written. */
function liveKeysOf(place: Place, scanned: ScannedSubjects, nowMs: number): Omit<CachedScan, "state"> {
  const prefixLength = subjectPrefix(place.bucket).length;
  const keys: string[] = [];
  let validUntilMs = Infinity;
  for (const [subject, untilMs] of scanned) {
    if (untilMs <= nowMs) continue;
    const key = unescapeKey(subject.slice(prefixLength));
    if (key === undefined) continue;
    keys.push(key);
    if (untilMs < validUntilMs) validUntilMs = untilMs;
  }
  return { keys: keys.sort(compareBytes), validUntilMs };
}

/**
 * Changes with every change of what is stored: a write raises the newest sequence, a removal lowers the number of messages. Where a storage
 * lost its last writes and took others since, the newest message has another time.
 */
function stateOf({ created, state }: StreamInfo): string {
  return `${created} ${state.first_seq} ${state.last_seq} ${state.last_ts} ${state.messages}`;
}

/** The index of the first key after this one. */
function firstAfter(keys: SortedKeys, after: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle] ?? "", after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The order of the UTF-8 bytes. That of UTF-16 units differs where surrogates meet U+E000 to U+FFFF. */
export function compareBytes(left: string, right: string): number {
  if (left === right) return 0;
  if (!HIGH_UNIT.test(left) && !HIGH_UNIT.test(right)) return left < right ? -1 : 1;
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

const HIGH_UNIT = /[\ud800-\uffff]/;
