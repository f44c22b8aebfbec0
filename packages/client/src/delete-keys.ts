/** Deletes the keys that match filters, call by call. */
import { KeyValueService } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { uint32Of } from "./convert.js";
import type { OptionNames } from "./options.js";
import { pagesOf } from "./pages.js";
import { CALL_OPTIONS, type CallOptions, type RpcClient } from "./rpc-client.js";

export interface DeleteKeysOptions extends CallOptions {
  /** Also remove the history of each deleted key. Default: false. */
  readonly purge?: boolean | undefined;
  /** The most keys to delete in one call. Default: 10,000. */
  readonly pageLimit?: number | undefined;
  /** Called after each call. */
  readonly onProgress?: ((progress: DeleteKeysProgress) => void) | undefined;
}

export const DELETE_KEYS_OPTIONS: OptionNames<DeleteKeysOptions> = {
  ...{ ...CALL_OPTIONS, purge: true, pageLimit: true, onProgress: true },
};

export interface DeleteKeysResult {
  /** The number of deleted keys. Keys that a failed and repeated call deleted are not counted. */
  readonly deleted: number;
  /** The number of matching keys that were kept, because they were written after the deletion began, or that others deleted meanwhile. */
  readonly skipped: number;
}

export interface DeleteKeysProgress extends DeleteKeysResult {
  /** An upper bound on the number of keys that are left; 0 at the end. */
  readonly remainingMax: number;
}

/** See `Bucket.deleteKeys`. */
export async function deleteKeys(
  rpc: RpcClient,
  bucket: string,
  filters: string[],
  { purge = false, onProgress, pageLimit = 0, ...call }: DeleteKeysOptions,
): Promise<DeleteKeysResult> {
  const request = { bucket, filters, purge, limit: uint32Of(pageLimit, "pageLimit") };
  const pages = pagesOf((pageToken) =>
    rpc.unary(KeyValueService.method.deleteKeys, { ...request, pageToken }, call),
  );
  let deleted = 0;
  let skipped = 0;
  for await (const page of pages) {
    deleted += page.deleted;
    skipped += page.skipped;
    onProgress?.({ deleted, skipped, remainingMax: Number(page.remainingMax) });
  }
  return { deleted, skipped };
}
