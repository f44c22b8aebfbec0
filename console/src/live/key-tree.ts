/** The keys of a bucket as a tree of their parts, which dots separate. A level is read when it is opened, from some node on. */
import { ConnectError } from "@connectrpc/connect";
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { GroupChecks } from "./group-checks.js";
import { childOf, groupsAbove } from "./key-groups.js";
import { compareKeys } from "./key-order.js";
import type { Side } from "./key-range.js";
import { LiveKeys, type LiveKeysOptions } from "./live-keys.js";
import { TreeLevel } from "./tree-level.js";

/** How many nodes of a level are loaded at once. */
const LEVEL_NODES = 200;

export interface TreeRow {
  /** A key, or a prefix that ends in a dot. For `before` and `after` the prefix of the level. */
  readonly path: string;
  /** `before` and `after`: there are more nodes of the level, which are not loaded. */
  readonly kind: "key" | "group" | Side;
  /** 1 for the first level. */
  readonly depth: number;
  readonly isOpen: boolean;
}

/** Whether the row is a key or a group. */
export function isNode({ kind }: TreeRow): boolean {
  return kind === "key" || kind === "group";
}

export class KeyTree extends LiveKeys {
  private readonly levels = new Map<string, TreeLevel>();
  private readonly opened = new Set<string>();
  private isFollowing = false;
  private readonly checks = new GroupChecks({
    source: this.options,
    signal: this.abort.signal,
    read: (call) => this.read(call),
    onEmpty: (group) => this.removeGroup(group),
  });
  private listed: { readonly version: number; readonly rows: readonly TreeRow[] } | undefined;

  /** `from`: the path of the row to begin with. Undefined: the first row. */
  constructor(
    options: LiveKeysOptions,
    private readonly from: string | undefined,
  ) {
    super(options);
  }

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
    const more = (kind: Side): void => {
      if (!level.hasAll(kind)) rows.push({ path: prefix, kind, depth, isOpen: false });
    };
    more("before");
    for (const path of level.nodes.keys) {
      const isGroup = path.endsWith(".");
      const isOpen = isGroup && this.opened.has(path);
      rows.push({ path, kind: isGroup ? "group" : "key", depth, isOpen });
      if (isOpen) this.addRows(rows, path, depth + 1);
    }
    more("after");
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
   * The index of the row of a key or a group, or of the one that follows it. "loading": it is not loaded yet; loads it. "gone": its level is closed, or
   * nothing follows it.
   */
  locate(path: string): number | "loading" | "gone" {
    if ([...this.levels.values()].some(({ isLoading }) => isLoading)) return "loading";
    const groups = groupsAbove(path);
    for (const prefix of ["", ...groups]) {
      const node = childOf(prefix, path);
      const level = this.levels.get(prefix);
      if (level === undefined || this.state.error !== undefined) return "gone";
      if (level.covers(node)) continue;
      this.load(prefix, node);
      return "loading";
    }
    const parent = groups.at(-1) ?? "";
    const index = this.rows().findIndex(
      (row) => isNode(row) && row.path.startsWith(parent) && compareKeys(row.path, path) >= 0,
    );
    return index === -1 ? "gone" : index;
  }

  open(prefix: string): void {
    this.opened.add(prefix);
    if (this.levels.has(prefix)) this.change({});
    else this.load(prefix, this.from?.startsWith(prefix) === true ? childOf(prefix, this.from) : undefined);
  }

  /** Loads a level, from a node on. Undefined: from its first one. */
  private load(prefix: string, from: string | undefined): void {
    this.levels.set(prefix, new TreeLevel(prefix, from));
    void this.loadMore(prefix, "after");
  }

  closeGroup(prefix: string): void {
    this.opened.delete(prefix);
    this.change({});
  }

  /** Loads the next nodes of a level on this side. */
  async loadMore(prefix: string, side: Side): Promise<void> {
    const level = this.levels.get(prefix);
    if (level === undefined || level.isLoading || level.hasAll(side)) return;
    level.isLoading = true;
    this.change({ isLoading: true, error: undefined });
    try {
      const goal = level.nodes.keys.length + LEVEL_NODES;
      while (!level.hasAll(side) && level.nodes.keys.length < goal && !this.isClosed())
        await this.scan(level, side);
      level.isLoading = false;
      this.change({ isLoading: false, isComplete: this.levels.get("")?.isComplete ?? false });
      this.removeIfEmpty(level);
    } catch (error) {
      level.isLoading = false;
      if (!this.isClosed()) this.change({ isLoading: false, error: ConnectError.from(error) });
    }
    // Nothing is visible of a level that begins after its last node.
    const isEmpty = level.nodes.keys.length === 0 && this.state.error === undefined && !this.isClosed();
    if (isEmpty) await this.loadMore(prefix, "before");
  }

  private async scan(level: TreeLevel, side: Side): Promise<void> {
    const revision = await this.read(() => level.scan(side, this.options, this.abort.signal));
    this.apply(level.arrived.filter(({ entry }) => (entry?.revision ?? 0n) > revision));
    if (!this.isFollowing) this.follow(revision + 1n);
    this.isFollowing = true;
  }

  protected restart(): void {
    this.levels.clear();
    this.checks.clear();
    this.isFollowing = false;
    for (const prefix of [...this.opened]) this.open(prefix);
  }

  protected onArrival(changes: readonly WatchResponse_Change[]): void {
    for (const level of this.levels.values()) if (level.isLoading) level.arrived.push(...changes);
  }

  protected put(key: string, revision: bigint): void {
    this.checks.put(key, revision);
    for (const level of this.levelsOf(key)) {
      const path = childOf(level.prefix, key);
      if (level.covers(path)) level.nodes.put(path, revision);
    }
  }

  protected remove(key: string): void {
    const level = this.levelsOf(key).at(-1);
    if (level === undefined) return;
    const node = childOf(level.prefix, key);
    // What else a closed group has is not known here.
    if (node !== key) this.checks.add(node);
    else {
      level.nodes.remove(key);
      this.removeIfEmpty(level);
    }
  }

  /** Whether the key, or a group that contains it, has a row. */
  protected has(key: string): boolean {
    return this.levelsOf(key).some(({ prefix, nodes }) => nodes.has(childOf(prefix, key)));
  }

  protected covers(): boolean {
    return true;
  }

  /** The loaded levels above the key, from the first. */
  private levelsOf(key: string): TreeLevel[] {
    return [...this.levels.values()]
      .filter(({ prefix }) => key.startsWith(prefix))
      .sort((one, other) => one.prefix.length - other.prefix.length);
  }

  /** A group exists while it has keys. */
  private removeIfEmpty({ prefix, nodes, isComplete }: TreeLevel): void {
    if (prefix === "" || nodes.keys.length > 0) return;
    if (isComplete) this.removeGroup(prefix);
    else this.checks.add(prefix);
  }

  private removeGroup(prefix: string): void {
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
