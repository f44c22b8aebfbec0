/** Tests of watches over one connection. */
import type { Limits } from "../../src/kv/limits.js";
import type { WatchOptions } from "../../src/kv/watch.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { storeTest } from "../support/fixtures.js";
import { newBucketName } from "./store-contract.js";
import { TestBucket, type TestBucketOptions } from "./watch-bucket.js";
import { newHubs, scope } from "./watching.js";

export const watchTest = () =>
  storeTest()
    .extend("hubsWith", ({ connection }, { onCleanup }) => {
      const opened: WatchHubs[] = [];
      onCleanup(async () => {
        for (const hubs of opened) await hubs.close();
      });
      return (limits: Partial<Limits>): WatchHubs => {
        const hubs = newHubs(connection, limits);
        opened.push(hubs);
        return hubs;
      };
    })
    .extend("hubs", ({ hubsWith }) => hubsWith({}))
    .extend(
      "bucketOf",
      ({ connection }) =>
        (options: TestBucketOptions = {}): Promise<TestBucket> =>
          TestBucket.create(connection, newBucketName(), options),
    )
    .extend(
      "watch",
      ({ hubs }) =>
        (bucket: TestBucket, options: Partial<WatchOptions> = {}, from = hubs): Promise<Watcher> =>
          from.watch(bucket.name, { filters: [], start: "snapshot", ...options }, scope()),
    );
