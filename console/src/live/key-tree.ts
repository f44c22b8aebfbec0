/**
 * The keys of a bucket as a tree of their parts, which dots separate. A level is read when it is opened: a scan returns the first keys after a
 * position, and skips a group as soon as it is known. So a level costs about one call for each group, however many keys the groups have.
 */
import { ConnectError } from "@connectrpc/connect";
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { LiveKeys } from "./live-keys.js";
import { afterGroup, childOf, groupsAbove } from "./key-groups.js";
import { SortedKeys } from "./sorted-keys.js";

const SCAN_KEYS = 32;
/** How many nodes of a level are loaded at once. */
const LEVEL_NODES = 200;

interface Level {
  readonly prefix: string;
  /** Keys, and prefixes of groups, which end in a dot. */
  readonly nodes: SortedKeys;
  /** Where the next scan begins. */
  position: string;
  isComplete: boolean;
  isLoading: boolean;
  arrived: WatchResponse_Change[];
}

export interface TreeRow {
  /** A key, a prefix that ends in a dot, or for `more` the prefix of the level. */
  readonly path: string;
  readonly kind: "key" | "group" | "more";
  /** 1 for the first level. */
  readonly depth: number;
  readonly isOpen: boolean;
}

export class KeyTree extends LiveKeys {
  private readonly levels = new Map<string, Level>();
  private readonly opened = new Set<string>();
  private isFollowing = false;
  private listed: { readonly version: number; readonly rows: readonly TreeRow[] } | undefined;

  start(): void {
    this.open("");
  }

  /** The visible rows, from the first to the last. */
  rows(): readonly TreeRow[] {
    if (this.listed?.version !== this.state.version) {
      const rows: TreeRow[] = [];
      this.addRows(rows, "", 1);
      this.listed = { version: this.state.version, rows };
    }
    return this.listed.rows;
  }

  private addRows(rows: TreeRow[], prefix: string, depth: number): void {
    const level = this.levels.get(prefix);
    if (level === undefined) return;
    for (const path of level.nodes.keys) {
      const isGroup = path.endsWith(".");
      const isOpen = isGroup && this.opened.has(path);
      rows.push({ path, kind: isGroup ? "group" : "key", depth, isOpen });
      if (isOpen) this.addRows(rows, path, depth + 1);
    }
    if (!level.isComplete) rows.push({ path: prefix, kind: "more", depth, isOpen: false });
  }

  isOpen(prefix: string): boolean {
    return this.opened.has(prefix);
  }

  /** The groups that are open, and whose groups above are open too. */
  openGroups(): readonly string[] {
    return [...this.opened].filter(
      (prefix) => prefix !== "" && groupsAbove(prefix).every((group) => this.opened.has(group)),
    );
  }

  /**
   * The index of the row of a key or a group. "loading": it may appear yet; loads what is missing of its level. "gone": it no longer exists, or its level
   * is closed.
   */
  locate(path: string): number | "loading" | "gone" {
    const index = this.rows().findIndex((row) => row.kind !== "more" && row.path === path);
    const levels = [...this.levels.values()];
    if (levels.some(({ isLoading }) => isLoading)) return "loading";
    if (index !== -1) return index;
    const level = this.levels.get(groupsAbove(path).at(-1) ?? "");
    if (level === undefined || level.isComplete || this.state.error !== undefined) return "gone";
    void this.loadMore(level.prefix);
    return "loading";
  }

  open(prefix: string): void {
    this.opened.add(prefix);
    if (!this.levels.has(prefix)) {
      const nodes = new SortedKeys("ascending");
      this.levels.set(prefix, {
        prefix,
        nodes,
        position: prefix,
        isComplete: false,
        isLoading: false,
        arrived: [],
      });
      void this.loadMore(prefix);
    } else this.change({});
  }

  closeGroup(prefix: string): void {
    this.opened.delete(prefix);
    this.change({});
  }

  /** Loads the next nodes of a level. */
  async loadMore(prefix: string): Promise<void> {
    const level = this.levels.get(prefix);
    if (level === undefined || level.isLoading || level.isComplete) return;
    level.isLoading = true;
    this.change({ isLoading: true, error: undefined });
    try {
      let isComplete = false;
      const goal = level.nodes.keys.length + LEVEL_NODES;
      while (!isComplete && level.nodes.keys.length < goal && !this.isClosed())
        isComplete = await this.read(() => this.scan(level));
      this.change({ isLoading: false, isComplete: this.levels.get("")?.isComplete ?? false });
      if (isComplete) this.removeIfEmpty(level);
    } catch (error) {
      if (!this.isClosed()) this.change({ isLoading: false, error: ConnectError.from(error) });
    } finally {
      level.isLoading = false;
    }
  }

  /** Reads on in a level. Returns whether all of it is loaded. */
  private async scan(level: Level): Promise<boolean> {
    const { keyValue, bucket, filter } = this.options;
    const { prefix, nodes } = level;
    level.arrived = [];
    let startKey = level.position;
    let revision = 0n;
    let isComplete = false;
    const request = {
      bucket,
      filters: [...filter.filters],
      prefix,
      startKey,
      limit: SCAN_KEYS,
      keysOnly: true,
    };
    for await (const response of keyValue.scan(request, { signal: this.abort.signal })) {
      for (const { key } of response.entries) {
        const path = childOf(prefix, key);
        if (!nodes.has(path)) nodes.append([path]);
        startKey = path === key ? key : afterGroup(path);
      }
      ({ revision } = response);
      isComplete = response.end?.complete ?? false;
    }
    level.position = startKey;
    level.isComplete = isComplete;
    this.apply(level.arrived.filter(({ entry }) => (entry?.revision ?? 0n) > revision));
    if (!this.isFollowing) this.follow(revision + 1n);
    this.isFollowing = true;
    return isComplete;
  }

  protected restart(): void {
    this.levels.clear();
    this.isFollowing = false;
    for (const prefix of [...this.opened]) this.open(prefix);
  }

  protected onArrival(changes: readonly WatchResponse_Change[]): void {
    for (const level of this.levels.values()) if (level.isLoading) level.arrived.push(...changes);
  }

  protected put(key: string, revision: bigint): void {
    for (const level of this.levelsOf(key)) {
      const path = childOf(level.prefix, key);
      if (level.isComplete || level.nodes.reaches(path)) level.nodes.put(path, revision);
    }
  }

  protected remove(key: string): void {
    const level = this.levelsOf(key).at(-1);
    if (level === undefined) return;
    if (childOf(level.prefix, key) === key) level.nodes.remove(key);
    this.removeIfEmpty(level);
  }

  protected has(key: string): boolean {
    return this.levelsOf(key).some(({ nodes }) => nodes.has(key));
  }

  protected covers(): boolean {
    return true;
  }

  /** The loaded levels above the key, from the first. */
  private levelsOf(key: string): Level[] {
    return [...this.levels.values()]
      .filter(({ prefix }) => key.startsWith(prefix))
      .sort((one, other) => one.prefix.length - other.prefix.length);
  }

  /** A group exists while it has keys. */
  private removeIfEmpty({ prefix, nodes, isComplete }: Level): void {
    if (prefix === "" || nodes.keys.length > 0 || !isComplete) return;
    this.levels.delete(prefix);
    this.opened.delete(prefix);
    const parent = this.levelsOf(prefix).at(-1);
    if (parent !== undefined) {
      parent.nodes.remove(prefix);
      this.removeIfEmpty(parent);
    }
    this.change({});
  }
}
