/**
 * A level of a tree of keys: the keys and groups right below a prefix, as far as they are loaded. A scan reads the next keys, and passes over a group as
 * soon as it is known. So a level costs about one call for each group, however many keys the groups have.
 */
import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { afterGroup, childOf } from "./key-groups.js";
import { KeyRange, type Side } from "./key-range.js";
import type { LiveKeysOptions } from "./live-keys.js";
import { SortedKeys } from "./sorted-keys.js";

/** A scan reads few keys while they belong to groups, of which it shows one each, and more while each is shown. */
const SCAN_KEYS = { min: 32, max: 512 } as const;

export class TreeLevel {
  /** Keys, and prefixes of groups, which end in a dot. */
  readonly nodes = new SortedKeys("ascending");
  isLoading = false;
  /** Changes since the request that is on its way. */
  arrived: WatchResponse_Change[] = [];
  private readonly range: KeyRange;
  private scanKeys: number = SCAN_KEYS.min;

  /** `start`: the first node to load. Undefined: the first of all. */
  constructor(
    readonly prefix: string,
    start: string | undefined,
  ) {
    this.range = KeyRange.from(start ?? prefix, prefix);
  }

  get isComplete(): boolean {
    return this.range.hasBottom && this.range.hasTop;
  }

  hasAll(side: Side): boolean {
    return side === "before" ? this.range.hasBottom : this.range.hasTop;
  }

  /** Whether the node is loaded if it exists. */
  covers(node: string): boolean {
    return this.range.covers(node);
  }

  /** Reads the next nodes on this side. Returns the revision at which they are exact. */
  async scan(
    side: Side,
    { keyValue, bucket, filter }: Pick<LiveKeysOptions, "keyValue" | "bucket" | "filter">,
    signal: AbortSignal,
  ): Promise<bigint> {
    const { prefix, range, scanKeys: limit } = this;
    this.arrived = [];
    const bounds =
      side === "after" ? { startKey: range.high ?? "" } : { endKey: range.low ?? "", reverse: true };
    const request = { bucket, filters: [...filter.filters], prefix, limit, keysOnly: true, ...bounds };
    const keys: string[] = [];
    let revision = 0n;
    let isComplete = false;
    for await (const response of keyValue.scan(request, { signal })) {
      for (const { key } of response.entries) keys.push(key);
      ({ revision } = response);
      isComplete = response.end?.complete ?? false;
    }
    const nodes = [...new Set(keys.map((key) => childOf(prefix, key)))];
    const last = nodes.at(-1);
    if (side === "before") {
      this.nodes.prepend(nodes.reverse());
      range.extendDown(last, isComplete);
    } else {
      this.nodes.append(nodes);
      if (last?.endsWith(".") === true && !isComplete) range.extendUpTo(afterGroup(last));
      else range.extendUp(last, isComplete);
    }
    const { min, max } = SCAN_KEYS;
    this.scanKeys = nodes.length === keys.length ? Math.min(max, 2 * limit) : min;
    return revision;
  }
}
