/**
 * The keys of a bucket that match a filter, in order: loaded page by page from some place in the order, kept current by a watch.
 *
 * A page is exact at the revision that its response names. The watch begins after the revision of the first page; changes that arrive while a
 * later page is on its way are applied to that page, too.
 */
import { ConnectError } from "@connectrpc/connect";
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { KeyPages, type ListStart } from "./key-pages.js";
import type { Side } from "./key-range.js";
import { LiveKeys, type LiveKeysOptions } from "./live-keys.js";
import { type KeyOrder, SortedKeys } from "./sorted-keys.js";

export class KeyList extends LiveKeys {
  private readonly sorted: SortedKeys;
  /** Where the listed keys begin. Another object after each jump. */
  origin: { readonly start: ListStart };
  /** The pages whose keys are listed. */
  private pages: KeyPages;
  /** The pages to which the next response belongs: others after a jump. */
  private target: KeyPages;
  private loading: Promise<void> | undefined;
  /** Changes since the request for the page that is being loaded. */
  private arrived: WatchResponse_Change[] = [];

  constructor(
    options: LiveKeysOptions,
    readonly order: KeyOrder,
    start: ListStart,
  ) {
    super(options);
    this.origin = { start };
    this.sorted = new SortedKeys(order);
    this.pages = this.target = new KeyPages(options, order, start);
  }

  get keys(): readonly string[] {
    return this.sorted.keys;
  }

  /** Whether all keys on this side of those that are loaded are loaded too. */
  hasAll(side: Side): boolean {
    return this.pages.hasAll(side);
  }

  /** The index of the key, or the one at which it belongs. */
  indexOf(key: string): number {
    return this.sorted.indexOf(key);
  }

  /** The index of the key, or the one at which it was. "loading": it is not loaded yet; jumps to it. */
  locate(key: string): number | "loading" | "gone" {
    if (this.state.isComplete && this.order === "changed" && !this.has(key)) return "gone";
    if (this.covers(key)) return this.indexOf(key);
    if (this.state.error !== undefined) return "gone";
    if (!this.state.isLoading) void this.jump({ key });
    return "loading";
  }

  start(): void {
    void this.load(this.pages, firstSide(this.origin.start));
  }

  /** Lists the keys from another place on. Those that are listed now stay until the first page is there. */
  async jump(start: ListStart): Promise<void> {
    while (this.loading !== undefined) await this.loading;
    await this.load(new KeyPages(this.options, this.order, start), firstSide(start), { start });
  }

  /** Loads the next page on this side, unless all of its keys are loaded. */
  async loadMore(side: Side): Promise<void> {
    if (this.loading !== undefined) await this.loading;
    else if (!this.hasAll(side)) await this.load(this.pages, side);
  }

  async loadAll(): Promise<void> {
    for (const side of ["after", "before"] as const)
      while (!this.hasAll(side) && this.state.error === undefined && !this.isClosed())
        await this.loadMore(side);
  }

  private async load(pages: KeyPages, side: Side, origin = this.origin): Promise<void> {
    this.target = pages;
    const loading = this.loadPage(pages, side, origin).finally(() => {
      if (this.loading === loading) this.loading = undefined;
      this.fill();
    });
    this.loading = loading;
    await loading;
  }

  private async loadPage(pages: KeyPages, side: Side, origin: KeyList["origin"]): Promise<void> {
    this.arrived = [];
    this.change({ isLoading: true, error: undefined });
    try {
      const page = await this.read(() => pages.load(side, this.abort.signal));
      if (pages !== this.target) return;
      if (pages !== this.pages) this.sorted.clear();
      this.pages = pages;
      this.origin = origin;
      if (side === "after") this.sorted.append(page.keys, page.revisions);
      else this.sorted.prepend(page.keys);
      this.state = {
        ...this.state,
        isLoading: false,
        isComplete: pages.hasAll("before") && pages.hasAll("after"),
      };
      const missed = this.arrived.filter(({ entry }) => (entry?.revision ?? 0n) > page.revision);
      this.arrived = [];
      // A listener may ask for the next page.
      this.loading = undefined;
      this.apply(missed);
      this.follow(page.revision + 1n);
    } catch (error) {
      if (pages !== this.target || this.isClosed()) return;
      this.target = this.pages;
      this.loading = undefined;
      this.change({ isLoading: false, error: ConnectError.from(error) });
    }
  }

  /** Loads more if there is nothing to see of what is loaded: the list begins after its last key, or all of its keys were deleted. */
  private fill(): void {
    const { isComplete, isLoading, error } = this.state;
    if (this.keys.length > 0 || isComplete || isLoading || error !== undefined || this.isClosed()) return;
    void this.loadMore(this.hasAll("after") ? "before" : "after");
  }

  protected restart(): void {
    this.sorted.clear();
    this.pages = new KeyPages(this.options, this.order, this.origin.start);
    this.change({ isComplete: false, error: undefined });
    this.start();
  }

  protected onArrival(changes: readonly WatchResponse_Change[]): void {
    if (this.loading !== undefined) this.arrived.push(...changes);
  }

  protected put(key: string, revision: bigint): void {
    this.sorted.put(key, revision);
  }

  protected remove(key: string): void {
    this.sorted.remove(key);
    this.fill();
  }

  protected has(key: string): boolean {
    return this.sorted.has(key);
  }

  protected covers(key: string): boolean {
    return this.pages.covers(key);
  }
}

/** The side of a list's beginning on which its keys are. */
function firstSide(start: ListStart): Side {
  return start === "last" ? "before" : "after";
}
