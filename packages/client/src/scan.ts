/** A scan of the SDK: the entries of a bucket that match, in the order of their keys. */
import {
  KeyValueService,
  type ScanRequestSchema,
  type ScanResponse_End,
} from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { consistencyOf, type ReadOptions } from "./bucket-options.js";
import { type Filters, filterList, uint32Of, wellFormed } from "./convert.js";
import { Entry } from "./entry.js";
import { KvUnavailableError } from "./errors.js";
import { kvErrorOf } from "./failure.js";
import type { OptionNames } from "./options.js";
import type { RpcClient } from "./rpc-client.js";

/** Selects the entries of a scan: a key must match a filter, have the prefix, and be within the bounds. */
export interface ScanOptions extends Omit<ReadOptions, "timeoutMs"> {
  /** At most 32; none: all keys. */
  readonly filters?: Filters | undefined;
  /** The text that keys begin with; it may contain dots. */
  readonly prefix?: string | undefined;
  /** The first key, by UTF-8 bytes; it need not exist. To continue after a key, append `"\0"` to it. */
  readonly startKey?: string | undefined;
  /** The text that all keys are below. */
  readonly endKey?: string | undefined;
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined;
  /** The most entries. Default: all. */
  readonly limit?: number | undefined;
  /** Entries without values: key, revision and time only. */
  readonly keysOnly?: boolean | undefined;
  /**
   * Continue at a newer revision where a value of the scan's revision is no longer kept, instead of throwing KvOutOfRangeError. Only a scan
   * of more than 8 MiB needs it. Default: false.
   */
  readonly allowNewer?: boolean | undefined;
}

export const SCAN_OPTIONS: OptionNames<ScanOptions> = {
  ...{ signal: true, consistency: true, filters: true, prefix: true, startKey: true, endKey: true },
  ...{ reverse: true, limit: true, keysOnly: true, allowNewer: true },
};

/** A running scan. Iterate it once; leaving the loop ends it. */
export class Scan implements AsyncIterable<Entry> {
  /** The revision of the bucket at which the entries so far are exact: of the last ones, with `allowNewer`. 0n before the first. */
  revision = 0n;
  /** After the last entry: whether every key that matches was returned. False: `limit` was reached, and there are more. */
  isComplete = false;
  private readonly controller = new AbortController();

  private readonly request: MessageInitShape<typeof ScanRequestSchema>;
  private readonly signal: AbortSignal | undefined;

  constructor(
    private readonly rpc: RpcClient,
    private readonly bucket: string,
    options: ScanOptions,
  ) {
    const { prefix = "", startKey = "", endKey = "", reverse, limit = 0, keysOnly, allowNewer } = options;
    this.signal = options.signal;
    this.request = {
      bucket,
      filters: filterList(options.filters ?? []),
      prefix: wellFormed(prefix, "prefix"),
      startKey: wellFormed(startKey, "startKey"),
      endKey: wellFormed(endKey, "endKey"),
      reverse: reverse === true,
      limit: uint32Of(limit, "limit"),
      keysOnly: keysOnly === true,
      allowNewer: allowNewer === true,
      consistency: consistencyOf(options),
    };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Entry, undefined> {
    const { signal, controller } = this;
    const abort = (): void => controller.abort();
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort);
    try {
      let end: ScanResponse_End | undefined;
      for await (const response of this.responses()) {
        this.revision = response.revision;
        for (const entry of response.entries) yield new Entry(entry);
        end = response.end;
      }
      if (end === undefined)
        throw new KvUnavailableError("The scan broke off before its end.", { code: "unavailable" });
      this.isComplete = end.complete;
    } finally {
      signal?.removeEventListener("abort", abort);
      controller.abort();
    }
  }

  private async *responses() {
    const { rpc, bucket, request, signal, controller } = this;
    try {
      yield* await rpc.stream(KeyValueService.method.scan, request, controller.signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw kvErrorOf(error, { isIdempotent: true, bucket, key: undefined });
    }
  }
}
