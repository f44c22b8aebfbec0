/** Finds out, one after another, whether groups of a tree still have keys: those whose level is not loaded, or only a part of it. */
import type { LiveKeysOptions } from "./live-keys.js";

export interface GroupChecksOptions {
  readonly source: Pick<LiveKeysOptions, "keyValue" | "bucket" | "filter">;
  readonly signal: AbortSignal;
  /** Repeats a call until it succeeds, or fails for good. */
  readonly read: <Result>(call: () => Promise<Result>) => Promise<Result>;
  /** Called with each group that has no key. */
  readonly onEmpty: (group: string) => void;
}

/** A check that is under way. */
class Check {
  /** The revision of the latest put to the group since the check began. */
  private writtenAt = 0n;
  private isCanceled = false;

  constructor(private readonly group: string) {}

  put(key: string, revision: bigint): void {
    if (key.startsWith(this.group)) this.writtenAt = revision;
  }

  cancel(): void {
    this.isCanceled = true;
  }

  /** `emptyAt`: the revision at which the service found no key of the group. Undefined: it found one. */
  isEmpty(emptyAt: bigint | undefined): boolean {
    return emptyAt !== undefined && this.writtenAt <= emptyAt && !this.isCanceled;
  }
}

export class GroupChecks {
  private readonly waiting = new Set<string>();
  /** The group that is being checked. */
  private checked: Check | undefined;

  constructor(private readonly options: GroupChecksOptions) {}

  /** Checks the group, because a key of it was removed. */
  add(group: string): void {
    this.waiting.add(group);
    if (this.checked === undefined) void this.run();
  }

  /** Records that a key was written. */
  put(key: string, revision: bigint): void {
    this.checked?.put(key, revision);
  }

  /** Forgets all groups, also the one that is being checked. */
  clear(): void {
    this.waiting.clear();
    this.checked?.cancel();
  }

  private async run(): Promise<void> {
    const { signal, read, onEmpty } = this.options;
    for (const group of this.waiting) {
      this.waiting.delete(group);
      const checked = new Check(group);
      this.checked = checked;
      // A group that can't be checked stays.
      const emptyAt = await read(() => this.emptyAt(group)).catch(() => undefined);
      if (signal.aborted) return;
      if (checked.isEmpty(emptyAt)) onEmpty(group);
    }
    this.checked = undefined;
  }

  /** The revision at which the group has no key. Undefined: it has one. */
  private async emptyAt(prefix: string): Promise<bigint | undefined> {
    const { keyValue, bucket, filter } = this.options.source;
    const request = { bucket, filters: [...filter.filters], prefix, limit: 1, keysOnly: true };
    let emptyAt: bigint | undefined;
    for await (const { entries, revision } of keyValue.scan(request, { signal: this.options.signal })) {
      if (entries.length > 0) return undefined;
      emptyAt = revision;
    }
    return emptyAt;
  }
}
