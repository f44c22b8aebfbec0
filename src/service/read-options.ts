/** Converts the requests of scans and watches to the store's options. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type ScanRequest,
  type WatchRequest,
  WatchRequest_Start,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { invalidArgument } from "../kv/errors.js";
import type { ScanOptions } from "../kv/reads.js";
import type { WatchOptions } from "../kv/watch.js";
import { millisecondsOf, millisecondsOfTimestamp } from "./convert.js";

export function optionalMilliseconds(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : millisecondsOfTimestamp(time);
}

export function scanOptionsOf(request: ScanRequest): ScanOptions {
  const { filters, prefix, startKey, endKey, reverse, limit, keysOnly, allowNewer } = request;
  return { filters, prefix, startKey, endKey, isReverse: reverse, limit, keysOnly, allowNewer };
}

export function watchOptionsOf(request: WatchRequest): WatchOptions {
  return {
    filters: request.filters,
    start: startOf(request),
    ignoreDeletes: request.ignoreDeletes,
    keysOnly: request.keysOnly,
    previous: request.previous,
    everyChange: request.everyChange,
    progressIntervalMs: millisecondsOf(request.progressInterval, "progress_interval"),
  };
}

function startOf(request: WatchRequest): WatchOptions["start"] {
  if (request.startRevision > 0n) {
    if (request.start !== WatchRequest_Start.UNSPECIFIED) {
      throw invalidArgument("start and start_revision are both set; set only one of them.");
    }
    return {
      revision: request.startRevision,
      bucketCreatedAtMs: optionalMilliseconds(request.bucketCreatedAt),
    };
  }
  switch (request.start) {
    case WatchRequest_Start.UNSPECIFIED:
    case WatchRequest_Start.SNAPSHOT:
      return "snapshot";
    case WatchRequest_Start.NOW:
      return "now";
    case WatchRequest_Start.HISTORY:
      return "history";
    default:
      throw invalidArgument(
        `start is ${request.start as number}; it must be 0 to 3 (see WatchRequest.Start).`,
      );
  }
}
