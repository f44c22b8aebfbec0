/** Lists of keys, kept for the next page or count while their bucket does not change: a bounded number of keys and lists. */
import { serverTimeMs, type StreamInfo } from "../client/jetstream-api.js";
import type { SortedKeys } from "./sorted-keys.js";

/** Keys over all buckets: some hundred bytes each. */
const KEYS_MAX = 500_000;
/** Lists, however small. */
const LISTS_MAX = 2_000;

export interface LiveKeyList {
  readonly keys: SortedKeys;
  /** When the first of the keys expires, by the storage's clock. */
  readonly validUntilMs: number;
}

export class KeyListCache {
  /** The most recently used stand last. */
  private readonly lists = new Map<string, LiveKeyList & { readonly state: string }>();
  private keyCount = 0;

  get(name: string, info: StreamInfo): SortedKeys | undefined {
    const list = this.lists.get(name);
    if (list?.state !== stateOf(info) || serverTimeMs(info) >= list.validUntilMs) return undefined;
    this.lists.delete(name);
    this.lists.set(name, list);
    return list.keys;
  }

  /** Keeps what a bucket had in this state. */
  keep(name: string, info: StreamInfo, list: LiveKeyList): void {
    this.drop(name);
    if (list.keys.length > KEYS_MAX) return;
    this.lists.set(name, { state: stateOf(info), ...list });
    this.keyCount += list.keys.length;
    for (const oldest of this.lists.keys()) {
      if (this.keyCount <= KEYS_MAX && this.lists.size <= LISTS_MAX) return;
      this.drop(oldest);
    }
  }

  private drop(name: string): void {
    this.keyCount -= this.lists.get(name)?.keys.length ?? 0;
    this.lists.delete(name);
  }
}

/**
 * Changes with every change of what is stored: a write raises the newest sequence, a removal lowers the number of messages. Where a storage
 * lost its last writes and took others since, the newest message has another time.
 */
export function stateOf({ created, state }: StreamInfo): string {
  return `${created} ${state.first_seq} ${state.last_seq} ${state.last_ts} ${state.messages}`;
}
