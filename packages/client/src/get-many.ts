/** Reads many keys at one revision, call by call. */
import { KeyValueService } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { consistencyOf, type GetOptions, type ManyEntries } from "./bucket-options.js";
import { revisionOf, wellFormed } from "./convert.js";
import { Entry } from "./entry.js";
import { KvError } from "./errors.js";
import type { RpcClient } from "./rpc-client.js";

/** Keys of one BatchGet. */
const BATCH_KEYS_MAX = 1_000;

/** See `Bucket.getMany`. */
export async function getMany(
  rpc: RpcClient,
  bucket: string,
  keys: readonly string[],
  options: GetOptions,
): Promise<ManyEntries> {
  let revision = options.revision === undefined ? 0n : revisionOf(options.revision, "revision");
  const entries: (Entry | undefined)[] = [];
  while (entries.length < keys.length) {
    const some = keys.slice(entries.length, entries.length + BATCH_KEYS_MAX);
    const request = {
      ...{ bucket, revision, consistency: consistencyOf(options) },
      keys: some.map((key) => wellFormed(key, "The key")),
    };
    const response = await rpc.unary(KeyValueService.method.batchGet, request, options);
    if (response.results.length === 0) throw new KvError("The response has no result.", { code: "internal" });
    for (const { entry } of response.results) entries.push(entry && new Entry(entry));
    ({ revision } = response);
  }
  rpc.recordRevision(bucket, revision);
  return { entries, revision };
}
