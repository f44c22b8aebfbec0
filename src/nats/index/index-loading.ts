/**
 * An index while it is loaded: it takes the messages that were stored before the feed began, in any order, and keeps what the feed brings
 * meanwhile until they are all there.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { isPlainKey, unescapeKey } from "../../kv/names.js";
import type { MessageHead } from "../read/message-head.js";
import type { BucketIndexOptions } from "./index-options.js";
import { type IndexState, isElsewhere, type StoredChange } from "./index-state.js";
import type { KeyWindow } from "./key-window.js";
import { WindowLoad } from "./window-load.js";

/** Changes that are applied at once after loading: about a millisecond's work. */
const CHANGES_AT_ONCE = 200;
/** How often the memory is added up while messages are loaded. */
const SIZE_CHECK_HEADS = 4_096;

export class IndexLoading {
  /** The most memory that the index took. */
  peakBytes = 0;
  /** The live keys that have been read. */
  private readonly keys: WindowLoad;
  /** By stored key: what the feed has brought. */
  private newer = new Map<string, StoredChange>();
  private heads = 0;
  private isGivenUp = false;

  /**
   * `hasTooMuch`: the index does not fit into memory, also without live keys. `isRestored`: the index holds what it had at an earlier revision,
   * and only what was stored later is to be loaded.
   */
  constructor(
    private readonly state: IndexState,
    { needed, sizes, isLarge }: BucketIndexOptions,
    private readonly hasTooMuch: () => boolean,
    private readonly isRestored: () => boolean,
  ) {
    this.keys = new WindowLoad(needed, sizes, isLarge);
  }

  get window(): KeyWindow {
    return this.keys.window;
  }

  get memoryBytes(): number {
    return this.keys.memoryBytes;
  }

  /** Takes a message. `ageMsMax`: the bucket's ttl. */
  load(head: MessageHead, ageMsMax: number): void {
    if (++this.heads % SIZE_CHECK_HEADS === 0) this.noteSize();
    if (this.isGivenUp) return;
    const { bytes, keyStart, keyEnd } = head;
    const facts = this.state.factsOf(head, ageMsMax);
    if (this.isRestored()) {
      const { storedKey, isTombstone } = head;
      this.state.applyUnlessOlder({ storedKey, isTombstone, facts });
      return;
    }
    if (!head.isTombstone && isPlainKey(bytes, keyStart, keyEnd)) {
      this.keys.add(bytes, keyStart, keyEnd, facts);
      return;
    }
    const key = head.isTombstone ? undefined : unescapeKey(head.storedKey);
    if (key === undefined) this.state.addOther(head.storedKey, facts);
    else this.keys.addText(key, facts);
  }

  /** Keeps what the feed brings, for {@link finish}. */
  keep(change: StoredChange): void {
    this.newer.set(change.storedKey, change);
  }

  /**
   * All messages have been loaded. Resolves when the state has them, and few of the changes that were kept are left: call {@link applyKept} in the
   * turn that ends the loading. `isOver`: ends it early.
   */
  async finish(isOver: () => boolean): Promise<void> {
    const { state } = this;
    if (!this.isRestored())
      state.tree = await this.keys.finish((key, start, length, revision) =>
        state.isNewest(key, start, length, revision),
      );
    this.noteSize();
    while (this.newer.size > CHANGES_AT_ONCE && !isOver()) {
      const changes = this.newer;
      this.newer = new Map();
      let applied = 0;
      for (const change of changes.values()) {
        this.apply(change);
        if (++applied % CHANGES_AT_ONCE === 0) await nextTurn();
      }
    }
  }

  applyKept(): void {
    for (const change of this.newer.values()) this.apply(change);
    this.newer = new Map();
  }

  private apply(change: StoredChange): void {
    if (isElsewhere(this.window, change)) this.state.applyElsewhere(change);
    else this.state.applyUnlessOlder(change);
  }

  private noteSize(): void {
    this.isGivenUp = this.hasTooMuch();
    const { others, tree } = this.state;
    this.peakBytes = Math.max(this.peakBytes, this.keys.peakBytes + others.memoryBytes + tree.memoryBytes);
  }
}
