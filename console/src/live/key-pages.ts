/** Reads the keys of a bucket that match a filter, page by page, in one of the orders. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Entry } from "@ironflow-kv/client/gen";
import type { LiveKeysOptions } from "./live-keys.js";
import type { KeyOrder } from "./sorted-keys.js";

const FIRST_PAGE_KEYS = 1_000;
/** More would hold up the page for too long while they are read. */
const PAGE_KEYS = 5_000;
/** The order by time needs all keys at once. */
export const KEYS_BY_TIME_MAX = 50_000;

export interface KeyPage {
  readonly keys: readonly string[];
  /** Of these keys; only in the order `changed`. */
  readonly revisions?: readonly bigint[];
  /** The revision of the bucket at which the page is exact. */
  readonly revision: bigint;
  readonly isLast: boolean;
}

export class KeyPages {
  /** The `page_token` of the next page, or the last key of the page before. Empty: the next page is the first. */
  private position = "";

  constructor(
    private readonly source: Pick<LiveKeysOptions, "keyValue" | "bucket" | "filter">,
    private readonly order: KeyOrder,
  ) {}

  next(signal: AbortSignal): Promise<KeyPage> {
    if (this.order === "ascending") return this.listed(signal);
    return this.order === "descending" ? this.scannedBack(signal) : this.byTime(signal);
  }

  private get limit(): number {
    return this.position === "" ? FIRST_PAGE_KEYS : PAGE_KEYS;
  }

  private async listed(signal: AbortSignal): Promise<KeyPage> {
    const { limit, position: pageToken } = this;
    const { keyValue, bucket, filter } = this.source;
    const filters = [...filter.filters];
    const { keys, revision, nextPageToken } = await keyValue.listKeys(
      { bucket, filters, limit, pageToken },
      { signal },
    );
    this.position = nextPageToken;
    return { keys, revision, isLast: nextPageToken === "" };
  }

  private async scannedBack(signal: AbortSignal): Promise<KeyPage> {
    const { limit, position: endKey } = this;
    const { entries, revision, isComplete } = await this.scan({ reverse: true, endKey, limit }, signal);
    this.position = entries.at(-1)?.key ?? "";
    return { keys: entries.map(({ key }) => key), revision, isLast: isComplete };
  }

  private async byTime(signal: AbortSignal): Promise<KeyPage> {
    const { entries, revision, isComplete } = await this.scan({ limit: KEYS_BY_TIME_MAX }, signal);
    if (!isComplete)
      throw new ConnectError(
        `More than ${KEYS_BY_TIME_MAX.toLocaleString("en")} keys match: too many to sort by time. Narrow the search, or sort by key.`,
        Code.ResourceExhausted,
      );
    entries.sort((one, other) => (one.revision > other.revision ? -1 : 1));
    return {
      keys: entries.map((entry) => entry.key),
      revisions: entries.map((entry) => entry.revision),
      revision,
      isLast: true,
    };
  }

  private async scan(
    range: { readonly limit: number; readonly reverse?: boolean; readonly endKey?: string },
    signal: AbortSignal,
  ): Promise<{ entries: Entry[]; revision: bigint; isComplete: boolean }> {
    const { keyValue, bucket, filter } = this.source;
    const entries: Entry[] = [];
    let revision = 0n;
    let isComplete = false;
    const request = { bucket, filters: [...filter.filters], keysOnly: true, ...range };
    for await (const response of keyValue.scan(request, { signal })) {
      for (const entry of response.entries) entries.push(entry);
      ({ revision } = response);
      isComplete = response.end?.complete ?? false;
    }
    return { entries, revision, isComplete };
  }
}
