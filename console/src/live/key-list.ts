/**
 * The keys of a bucket that match a filter, in order: loaded page by page, kept current by a watch.
 *
 * A page is exact at the revision that its response names. The watch begins after the revision of the first page; changes that arrive while a
 * later page is on its way are applied to that page, too.
 */
import { ConnectError } from "@connectrpc/connect";
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { KeyPages } from "./key-pages.js";
import { LiveKeys, type LiveKeysOptions } from "./live-keys.js";
import { type KeyOrder, SortedKeys } from "./sorted-keys.js";

export class KeyList extends LiveKeys {
  private readonly sorted: SortedKeys;
  /** Undefined: the next page is the first. */
  private pages: KeyPages | undefined;
  private loading: Promise<void> | undefined;
  /** Changes since the request for the page that is being loaded. */
  private arrived: WatchResponse_Change[] = [];

  constructor(
    options: LiveKeysOptions,
    readonly order: KeyOrder,
  ) {
    super(options);
    this.sorted = new SortedKeys(order);
  }

  get keys(): readonly string[] {
    return this.sorted.keys;
  }

  /** The index of the key, or the one at which it belongs. */
  indexOf(key: string): number {
    return this.sorted.indexOf(key);
  }

  /** The index of the key, or the one at which it was. "loading": it is not loaded yet; loads the next page. */
  locate(key: string): number | "loading" | "gone" {
    if (this.state.isComplete && this.order === "changed" && !this.has(key)) return "gone";
    if (this.covers(key)) return this.indexOf(key);
    if (this.state.error !== undefined) return "gone";
    if (!this.state.isLoading) void this.loadMore();
    return "loading";
  }

  start(): void {
    void this.loadMore();
  }

  /** Loads the next page, unless all keys are loaded. */
  loadMore(): Promise<void> {
    if (this.state.isComplete) return Promise.resolve();
    if (this.loading === undefined) {
      const loading = this.loadPage().finally(() => {
        if (this.loading === loading) this.loading = undefined;
      });
      this.loading = loading;
    }
    return this.loading;
  }

  async loadAll(): Promise<void> {
    while (!this.state.isComplete && this.state.error === undefined && !this.isClosed())
      await this.loadMore();
  }

  private async loadPage(): Promise<void> {
    const isFirst = this.pages === undefined;
    const pages = (this.pages ??= new KeyPages(this.options, this.order));
    this.arrived = [];
    this.change({ isLoading: true, error: undefined });
    try {
      const page = await this.read(() => pages.next(this.abort.signal));
      if (pages !== this.pages) return;
      this.sorted.append(page.keys, page.revisions);
      this.state = { ...this.state, isLoading: false, isComplete: page.isLast };
      const missed = this.arrived.filter(({ entry }) => (entry?.revision ?? 0n) > page.revision);
      this.arrived = [];
      this.apply(missed);
      if (isFirst) this.follow(page.revision + 1n);
    } catch (error) {
      if (pages !== this.pages || this.isClosed()) return;
      if (isFirst) this.pages = undefined;
      this.change({ isLoading: false, error: ConnectError.from(error) });
    }
  }

  protected restart(): void {
    this.sorted.clear();
    this.pages = undefined;
    this.loading = undefined;
    this.change({ isComplete: false, error: undefined });
    void this.loadMore();
  }

  protected onArrival(changes: readonly WatchResponse_Change[]): void {
    if (this.loading !== undefined) this.arrived.push(...changes);
  }

  protected put(key: string, revision: bigint): void {
    this.sorted.put(key, revision);
  }

  protected remove(key: string): void {
    this.sorted.remove(key);
  }

  protected has(key: string): boolean {
    return this.sorted.has(key);
  }

  protected covers(key: string): boolean {
    return this.state.isComplete || this.sorted.reaches(key);
  }
}
