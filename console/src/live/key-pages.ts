/**
 * Reads the keys of a bucket that match a filter, page by page, in one of the orders: from its first key, its last key, or any key between, and from
 * there to both sides.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Entry } from "@ironflow-kv/client/gen";
import { KeyRange, type Side } from "./key-range.js";
import type { LiveKeysOptions } from "./live-keys.js";
import type { KeyOrder } from "./sorted-keys.js";

const FIRST_PAGE_KEYS = 1_000;
/** More would hold up the page for too long while they are read. */
const PAGE_KEYS = 5_000;
/** The order by time needs all keys at once. */
export const KEYS_BY_TIME_MAX = 50_000;

/** Where in its order a list begins. The key need not exist. */
export type ListStart = "first" | "last" | { readonly key: string };

export interface KeyPage {
  /** In the order of the list. */
  readonly keys: readonly string[];
  /** Of these keys; only in the order `changed`. */
  readonly revisions?: readonly bigint[];
  /** The revision of the bucket at which the page is exact. */
  readonly revision: bigint;
}

export class KeyPages {
  private readonly range: KeyRange;
  /** The `page_token` of the page above the range. Undefined: there is none, because the range did not begin at the lowest key. */
  private pageToken: string | undefined;

  constructor(
    private readonly source: Pick<LiveKeysOptions, "keyValue" | "bucket" | "filter">,
    private readonly order: KeyOrder,
    start: ListStart,
  ) {
    const isAscending = order === "ascending";
    if (order === "changed") this.range = KeyRange.atTop();
    else if (typeof start !== "string")
      this.range = isAscending ? KeyRange.from(start.key) : KeyRange.upTo(start.key);
    else if ((start === "first") === isAscending) {
      this.range = KeyRange.from("");
      this.pageToken = "";
    } else this.range = KeyRange.atTop();
  }

  /** Whether all keys on this side are loaded. */
  hasAll(side: Side): boolean {
    return this.isUp(side) ? this.range.hasTop : this.range.hasBottom;
  }

  covers(key: string): boolean {
    return this.range.covers(key);
  }

  /** Reads the next page on this side. */
  async load(side: Side, signal: AbortSignal): Promise<KeyPage> {
    if (this.order === "changed") return this.byTime(signal);
    const { keys, revision } = this.isUp(side) ? await this.up(signal) : await this.down(signal);
    return { keys: this.order === "ascending" ? keys : keys.reverse(), revision };
  }

  /** Whether the keys on this side are higher than those of the range. */
  private isUp(side: Side): boolean {
    return (side === "after") === (this.order === "ascending");
  }

  private get limit(): number {
    return this.range.isNew ? FIRST_PAGE_KEYS : PAGE_KEYS;
  }

  /** Keys from the lowest to the highest, as `listed` and `down`. */
  private async up(signal: AbortSignal): Promise<{ keys: string[]; revision: bigint }> {
    if (this.pageToken !== undefined) return this.listed(this.pageToken, signal);
    const { keys, revision, isComplete } = await this.scan(
      { startKey: this.range.high ?? "", limit: this.limit },
      signal,
    );
    this.range.extendUp(keys.at(-1), isComplete);
    return { keys, revision };
  }

  /** A list of keys is read faster than a scan. */
  private async listed(
    pageToken: string,
    signal: AbortSignal,
  ): Promise<{ keys: string[]; revision: bigint }> {
    const { limit } = this;
    const { keyValue, bucket, filter } = this.source;
    const filters = [...filter.filters];
    const { keys, revision, nextPageToken } = await keyValue.listKeys(
      { bucket, filters, limit, pageToken },
      { signal },
    );
    this.pageToken = nextPageToken;
    this.range.extendUp(keys.at(-1), nextPageToken === "");
    return { keys, revision };
  }

  private async down(signal: AbortSignal): Promise<{ keys: string[]; revision: bigint }> {
    const { keys, revision, isComplete } = await this.scan(
      { reverse: true, endKey: this.range.low ?? "", limit: this.limit },
      signal,
    );
    this.range.extendDown(keys.at(-1), isComplete);
    return { keys: keys.reverse(), revision };
  }

  private async byTime(signal: AbortSignal): Promise<KeyPage> {
    const { entries, revision, isComplete } = await this.scan({ limit: KEYS_BY_TIME_MAX }, signal);
    if (!isComplete)
      throw new ConnectError(
        `More than ${KEYS_BY_TIME_MAX.toLocaleString("en")} keys match: too many to sort by time. Narrow the search, or sort by key.`,
        Code.ResourceExhausted,
      );
    entries.sort((one, other) => (one.revision > other.revision ? -1 : 1));
    this.range.extendDown(undefined, true);
    return {
      keys: entries.map((entry) => entry.key),
      revisions: entries.map((entry) => entry.revision),
      revision,
    };
  }

  private async scan(
    bounds: {
      readonly limit: number;
      readonly reverse?: boolean;
      readonly startKey?: string;
      readonly endKey?: string;
    },
    signal: AbortSignal,
  ): Promise<{ entries: Entry[]; keys: string[]; revision: bigint; isComplete: boolean }> {
    const { keyValue, bucket, filter } = this.source;
    const entries: Entry[] = [];
    let revision = 0n;
    let isComplete = false;
    const request = { bucket, filters: [...filter.filters], keysOnly: true, ...bounds };
    for await (const response of keyValue.scan(request, { signal })) {
      for (const entry of response.entries) entries.push(entry);
      ({ revision } = response);
      isComplete = response.end?.complete ?? false;
    }
    return { entries, keys: entries.map(({ key }) => key), revision, isComplete };
  }
}
