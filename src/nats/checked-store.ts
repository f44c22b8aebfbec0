/** A store whose calls wait until their bucket was checked after a restart of the storage. */
import type { CallScope, Store } from "../kv/store.js";
import type { RestartCheck } from "./buckets/restart-check.js";

export function checkedStore(store: Store, check: RestartCheck): Store {
  const checked = <Result>(
    bucket: string,
    scope: CallScope,
    call: () => Promise<Result>,
  ): Promise<Result> => {
    const pending = check.pending(bucket, scope);
    return pending === undefined ? call() : pending.then(call);
  };
  return {
    ...store,
    getBucket: (bucket, scope) => checked(bucket, scope, () => store.getBucket(bucket, scope)),
    compactBucket: (bucket, scope) => checked(bucket, scope, () => store.compactBucket(bucket, scope)),
    get: (bucket, key, revision, scope, consistency) =>
      checked(bucket, scope, () => store.get(bucket, key, revision, scope, consistency)),
    put: (bucket, key, value, options, scope) =>
      checked(bucket, scope, () => store.put(bucket, key, value, options, scope)),
    delete: (bucket, key, options, scope) =>
      checked(bucket, scope, () => store.delete(bucket, key, options, scope)),
    listKeys: (bucket, filters, page, scope, consistency) =>
      checked(bucket, scope, () => store.listKeys(bucket, filters, page, scope, consistency)),
    history: (bucket, key, page, scope, consistency) =>
      checked(bucket, scope, () => store.history(bucket, key, page, scope, consistency)),
    watch: (bucket, options, scope) => checked(bucket, scope, () => store.watch(bucket, options, scope)),
    importEntries: (bucket, afterRevision, entries, scope) =>
      checked(bucket, scope, () => store.importEntries(bucket, afterRevision, entries, scope)),
  };
}
