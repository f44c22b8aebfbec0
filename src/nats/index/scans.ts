/** Starts scans: checks what they ask for, and finds the ranges of the index that they go through. */
import { invalidArgument } from "../../kv/errors.js";
import { parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { quote, streamName } from "../../kv/names.js";
import type { Consistency, Scan, ScanOptions, ScanPart } from "../../kv/reads.js";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import type { ValueReader } from "../read/value-reader.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { endOfPrefix, rangesOf, within, type KeyRange } from "./key-ranges.js";
import { boundsOf } from "./key-window.js";
import { RunningScan } from "./running-scan.js";
import { ReadMemory } from "../read/read-memory.js";

export class Scans {
  readonly memory: ReadMemory;

  constructor(
    private readonly indexes: BucketIndexes,
    private readonly values: ValueReader,
    private readonly limits: Limits,
  ) {
    this.memory = new ReadMemory(limits.scanBytesMax);
  }

  /** See `Store.scan`. */
  async start(
    bucket: string,
    scan: ScanOptions,
    context: CallContext,
    consistency: Consistency = "strong",
  ): Promise<Scan> {
    const { indexes, values, memory, limits } = this;
    const place = { bucket, stream: streamName(bucket) };
    const filters = parseFilters(scan.filters);
    this.checkBounds(scan);
    const ranges = rangesOfScan(scan, rangesOf(filters));
    const ended = new AbortController();
    const signal = AbortSignal.any([context.signal, ended.signal]);
    const flow = flowOf(context);
    const ofRequest = (): CallContext => ({
      ...{ deadlineMs: performance.now() + limits.callTimeoutMsMax, signal, flow },
    });
    const { isReverse } = scan;
    const needed = { kind: "range", filters, ...boundsOf(ranges), isReverse } as const;
    const options = { place, indexes, values, memory, filters, ranges, needed, scan, context: ofRequest };
    const index = await indexes.current(place, context, needed, consistency);
    return new AbortableScan(RunningScan.open(options, index).parts(), ended);
  }

  private checkBounds({ prefix, startKey, endKey }: ScanOptions): void {
    const { keyBytesMax } = this.limits;
    for (const [name, text] of Object.entries({ prefix, start_key: startKey, end_key: endKey })) {
      // One more than a key has: a key with a zero byte is the smallest text above the key.
      if (Buffer.byteLength(text) > keyBytesMax + 1)
        throw invalidArgument(
          `${name} has ${Buffer.byteLength(text)} bytes; it must be a text of at most ${keyBytesMax + 1}.`,
        );
    }
    if (endKey !== "" && Buffer.compare(Buffer.from(startKey), Buffer.from(endKey)) > 0)
      throw invalidArgument(
        `start_key ${quote(startKey)} is above end_key ${quote(endKey)}; it must not be, also with reverse.`,
      );
  }
}

function rangesOfScan(
  { prefix, startKey, endKey }: ScanOptions,
  ranges: readonly KeyRange[],
): readonly KeyRange[] {
  const start = Buffer.from(prefix);
  const bounded = within(ranges, start, endOfPrefix(start));
  return within(bounded, Buffer.from(startKey), endKey === "" ? undefined : Buffer.from(endKey));
}

/** A scan that `return()` ends at once, also while a part is being read. */
class AbortableScan implements Scan {
  constructor(
    private readonly parts: AsyncGenerator<ScanPart, undefined>,
    private readonly ended: AbortController,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<ScanPart, undefined>> {
    return this.parts.next();
  }

  async return(): Promise<IteratorResult<ScanPart, undefined>> {
    this.ended.abort();
    await this.parts.return(undefined);
    return { done: true, value: undefined };
  }
}
