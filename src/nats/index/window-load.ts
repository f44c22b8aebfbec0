/**
 * Collects the keys of an index that is being loaded, within a bound of memory. It begins with all keys. Where they do not fit, it keeps those
 * that the read needs first: it cuts the window, and drops the keys beyond the cut, again and again until the load ends.
 */
import type { KeyFacts } from "./key-leaf.js";
import { KeyLoad, type KeyCheck } from "./key-load.js";
import type { KeyTree } from "./key-tree.js";
import { KeyWindow, type NeededKeys, wholeWindow } from "./key-window.js";

/** The memory of one index. */
export interface IndexSizes {
  /** Of an index with all keys. */
  readonly wholeBytesMax: number;
  /** Of a window. */
  readonly windowBytesMax: number;
}

/** Of a window's memory, what is left after a cut. */
const KEPT_PART = 0.5;

export class WindowLoad {
  window: KeyWindow;
  /** The most memory that it took. */
  peakBytes = 0;
  private readonly load = new KeyLoad();
  private bytesMax: number;

  /** `isLarge`: the keys are known not to fit. */
  constructor(
    private readonly needed: NeededKeys,
    private readonly sizes: IndexSizes,
    isLarge: boolean,
  ) {
    this.window = isLarge ? new KeyWindow(needed) : wholeWindow();
    this.bytesMax = isLarge ? sizes.windowBytesMax : sizes.wholeBytesMax;
  }

  get memoryBytes(): number {
    return this.load.memoryBytes;
  }

  /** See `KeyLoad.add`. Ignores keys outside the window. */
  add(key: Uint8Array, from: number, to: number, facts: KeyFacts): void {
    const { load, window } = this;
    load.dropSome();
    if (!window.includes(key, from, to)) return;
    load.add(key, from, to, facts);
    const { memoryBytes } = load;
    if (memoryBytes > this.peakBytes) this.peakBytes = memoryBytes;
    if (memoryBytes > this.bytesMax && !load.isDropping) this.shrink();
  }

  addText(key: string, facts: KeyFacts): void {
    const bytes = Buffer.from(key);
    this.add(bytes, 0, bytes.length, facts);
  }

  /** See `KeyLoad.finish`. */
  finish(isWanted: KeyCheck): Promise<KeyTree> {
    const { load, window } = this;
    const isIn: KeyCheck = (blob, start, length) => window.includes(blob, start, start + length);
    if (window.isAll) return load.finish(isWanted);
    return load.finish(
      (blob, start, length, revision) =>
        isIn(blob, start, length, revision) && isWanted(blob, start, length, revision),
    );
  }

  private shrink(): void {
    const { windowBytesMax } = this.sizes;
    if (this.window.isAll) this.window = new KeyWindow(this.needed);
    this.bytesMax = windowBytesMax;
    const { load, window } = this;
    if (!window.isNamed) this.cut(KEPT_PART * windowBytesMax);
    load.keepOnly((blob, start, length) => window.includes(blob, start, start + length));
  }

  /** Cuts the window so that about so many bytes of what was loaded are left in it, and at least one key. */
  private cut(bytesKept: number): void {
    const { load, window, needed } = this;
    const sample = load.sample();
    const inside = sample
      .filter((key) => window.includes(key, 0, key.length))
      .sort((one, other) => Buffer.compare(one, other));
    const insideBytes = (load.memoryBytes * inside.length) / Math.max(1, sample.length);
    const kept = Math.max(1, Math.floor((inside.length * bytesKept) / Math.max(1, insideBytes)));
    if (kept >= inside.length) return;
    if (needed.kind === "range" && needed.isReverse)
      window.from = inside[inside.length - kept] ?? window.from;
    else window.to = inside[kept];
  }
}
