/**
 * A store whose calls wait until their bucket was checked after a restart of the storage. Descriptions of buckets do so themselves: see
 * buckets.ts.
 */
import type { CallContext } from "../kv/call-context.js";
import type { Store } from "../kv/store.js";
import type { RestartCheck } from "./buckets/restart-check.js";

export function checkedStore(store: Store, check: RestartCheck): Store {
  const checked = <Result>(
    bucket: string,
    context: CallContext,
    call: () => Promise<Result>,
  ): Promise<Result> => {
    const pending = check.pending(bucket, context);
    return pending === undefined ? call() : pending.then(call);
  };
  return {
    ...store,
    compactBucket: (bucket, context) => checked(bucket, context, () => store.compactBucket(bucket, context)),
    get: (bucket, key, revision, context, consistency) =>
      checked(bucket, context, () => store.get(bucket, key, revision, context, consistency)),
    batchGet: (bucket, keys, revision, context, consistency) =>
      checked(bucket, context, () => store.batchGet(bucket, keys, revision, context, consistency)),
    scan: (bucket, options, context, consistency) =>
      checked(bucket, context, () => store.scan(bucket, options, context, consistency)),
    put: (bucket, key, value, options, context) =>
      checked(bucket, context, () => store.put(bucket, key, value, options, context)),
    touch: (bucket, key, options, context) =>
      checked(bucket, context, () => store.touch(bucket, key, options, context)),
    delete: (bucket, key, options, context) =>
      checked(bucket, context, () => store.delete(bucket, key, options, context)),
    deleteKeys: (bucket, options, context) =>
      checked(bucket, context, () => store.deleteKeys(bucket, options, context)),
    commit: (bucket, operations, options, context) =>
      checked(bucket, context, () => store.commit(bucket, operations, options, context)),
    listKeys: (bucket, filters, page, context, consistency) =>
      checked(bucket, context, () => store.listKeys(bucket, filters, page, context, consistency)),
    history: (bucket, key, page, context, consistency) =>
      checked(bucket, context, () => store.history(bucket, key, page, context, consistency)),
    watch: (bucket, options, context) =>
      checked(bucket, context, () => store.watch(bucket, options, context)),
    importEntries: (bucket, afterRevision, entries, context) =>
      checked(bucket, context, () => store.importEntries(bucket, afterRevision, entries, context)),
  };
}
