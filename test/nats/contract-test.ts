/** Tests of the contract of a store, on one that is opened with these options. */
import type { BucketConfig } from "../../src/kv/bucket.js";
import type { Store } from "../../src/kv/store.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import type { StoreOptions } from "./store-support.js";

export const contractTest = (options: StoreOptions) =>
  storeTest({ ownServer: {}, store: options })
    .extend("bucketWith", ({ store }) => async (config: Omit<BucketConfig, "name"> = {}): Promise<string> => {
      const name = newBucketName();
      await store.createBucket({ name, ...config }, scope());
      return name;
    })
    .extend(
      "put",
      ({ store }) =>
        (bucket: string, key: string, value: string): Promise<bigint> =>
          store.put(bucket, key, bytes(value), {}, scope()),
    )
    .extend(
      "get",
      ({ store }) =>
        (bucket: string, key: string, revision = 0n): ReturnType<Store["get"]> =>
          store.get(bucket, key, revision, scope()),
    )
    .extend(
      "keysOf",
      ({ store }) =>
        async (bucket: string, filters: string[] = []): Promise<readonly string[]> =>
          (await store.listKeys(bucket, filters, { limit: 0, pageToken: "" }, scope())).items,
    );

export type ContractTest = ReturnType<typeof contractTest>;
