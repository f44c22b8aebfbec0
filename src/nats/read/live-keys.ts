/** The live keys of a bucket: how many there are, and which, page by page. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { MATCH_ALL, matchesAny, parseFilters, serverSubjects } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { escapeKey, streamName, subjectPrefix, unescapeKey } from "../../kv/names.js";
import { keyJsonBytes, PageRoom } from "../../kv/page-room.js";
import { checkIncarnation, pageLimit, readPageToken, writePageToken } from "../../kv/page-token.js";
import type { CallScope, Consistency, Page, PageRequest } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import { serverTimeMs, type StreamInfo } from "../client/jetstream-api.js";
import { addPassedOver } from "./key-census.js";
import { KeyListCache, type LiveKeyList, stateOf } from "./key-list-cache.js";
import { type ScannedSubjects, type ScanOptions, scanSubjects } from "./key-scan.js";
import { existing, type Place } from "../client/message-reader.js";
import { RequestCoalescer } from "../client/request-coalescer.js";
import { firstAfter, SLICE_KEYS, type SortedKeys, sortKeys } from "./sorted-keys.js";
import { coveringSubject } from "./covering-subject.js";
import type { ReadStart } from "./stream-reader.js";

const NANOS_PER_MS = 1_000_000;

export class LiveKeys {
  private readonly cache = new KeyListCache();
  /** Who asks for the same keys at once shares a scan. */
  private readonly scans: RequestCoalescer<SortedKeys>;

  constructor(private readonly options: ScanOptions & { readonly limits: Limits }) {
    this.scans = new RequestCoalescer(options.limits.callTimeoutMsMax);
  }

  /** The number of live keys, exactly. */
  async count(place: Place, info: StreamInfo, scope: CallScope): Promise<number> {
    return (await this.keys(place, [">"], info, scope, "strong")).length;
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
    const info = await this.info(place, scope, consistency);
    checkIncarnation(token, info.created);
    const keys = await this.keys(place, serverSubjects(filters), info, scope, consistency);
    const isAll = filters.every((filter) => filter === MATCH_ALL);
    const items: string[] = [];
    const room = new PageRoom(limit, this.options.limits.pageBytesMax);
    for (let index = token === undefined ? 0 : firstAfter(keys, token.after); index < keys.length; index++) {
      if (index % SLICE_KEYS === SLICE_KEYS - 1) await nextTurn();
      const key = keys[index] ?? "";
      if (!isAll && !matchesAny(filters, escapeKey(key))) continue;
      if (!room.take(keyJsonBytes(key)))
        return { items, nextPageToken: writePageToken(listing, items.at(-1) ?? "", info.created) };
      items.push(key);
    }
    return { items, nextPageToken: "" };
  }

  private info(place: Place, scope: CallScope, consistency: Consistency): Promise<StreamInfo> {
    const { requests, reader } = this.options;
    return consistency === "strong" ? reader.stream(place, scope) : existing(requests, place, scope);
  }

  /** The keys that the subjects cover, or more: what the storage leaves open is matched by the caller. `info`: read in this call. */
  private async keys(
    place: Place,
    subjects: readonly string[],
    info: StreamInfo,
    scope: CallScope,
    consistency: Consistency,
  ): Promise<SortedKeys> {
    const known = this.known(place, subjects, info);
    if (known !== undefined) return known;
    try {
      return await this.scans.get(`${consistency} ${listName(place, subjects)}`, scope, async (shared) => {
        const now = await this.info(place, shared, consistency);
        return this.known(place, subjects, now) ?? this.scan(place, subjects, now, shared, consistency);
      });
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
  }

  private known(place: Place, subjects: readonly string[], info: StreamInfo): SortedKeys | undefined {
    if (info.state.messages === 0) return [];
    return this.cache.get(listName(place, subjects), info) ?? this.cache.get(listName(place, [">"]), info);
  }

  private async scan(
    place: Place,
    subjects: readonly string[],
    info: StreamInfo,
    scope: CallScope,
    consistency: Consistency,
  ): Promise<SortedKeys> {
    const filter = coveringSubject(subjects.map((subject) => subjectPrefix(place.bucket) + subject));
    const ageMsMax = (info.config.max_age ?? 0) / NANOS_PER_MS;
    const isStrong = consistency === "strong";
    for (let isLastTry = false; ; isLastTry = true) {
      const scanned: ScannedSubjects = new Map();
      const upTo = info.state.last_seq;
      const range = { filter, ageMsMax, upTo: isStrong ? upTo : undefined, ...startOf(info) };
      await scanSubjects(this.options, place, range, scanned, scope);
      if (!isStrong) return (await liveKeysOf(place, scanned, serverTimeMs(info))).keys;
      const after = await existing(this.options.requests, place, scope);
      // The bucket changed during the scan: use the result, with what it passed over, but do not keep it.
      if (stateOf(after) !== stateOf(info)) {
        await addPassedOver(this.options, place, { ...range, upTo }, scanned, scope);
        return (await liveKeysOf(place, scanned, serverTimeMs(after))).keys;
      }
      // The stream's own count of subjects proves that none was missed; the scan relies on the server's count of what is to come.
      if (isLastTry || !subjects.includes(">") || after.state.num_subjects === scanned.size) {
        const list = await liveKeysOf(place, scanned, serverTimeMs(after));
        this.cache.keep(listName(place, subjects), info, list);
        return list.keys;
      }
    }
  }
}

function listName({ stream }: Place, subjects: readonly string[]): string {
  return `${stream} ${subjects.join(" ")}`;
}

/** The keys that are live at this time, and until when that holds if nothing is written. */
async function liveKeysOf(place: Place, scanned: ScannedSubjects, nowMs: number): Promise<LiveKeyList> {
  const prefixLength = subjectPrefix(place.bucket).length;
  const keys: string[] = [];
  let validUntilMs = Infinity;
  let seen = 0;
  for (const [subject, untilMs] of scanned) {
    if (++seen % SLICE_KEYS === 0) await nextTurn();
    const key = untilMs > nowMs ? unescapeKey(subject.slice(prefixLength)) : undefined;
    if (key === undefined) continue;
    keys.push(key);
    if (untilMs < validUntilMs) validUntilMs = untilMs;
  }
  return { keys: await sortKeys(keys), validUntilMs };
}

/** With a history of 1 all that is stored is the newest of its key, and the server reads that faster than a list of what is newest. */
function startOf({ config, state }: StreamInfo): { readonly start?: ReadStart } {
  return config.max_msgs_per_subject === 1 ? { start: { sequence: Math.max(1, state.first_seq) } } : {};
}
