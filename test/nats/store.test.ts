/** The contract of a store, kept by the one on a real nats-server. */
import { afterAll, beforeAll } from "vitest";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { describeBucketContract } from "./store-contract-buckets.js";
import { describeImportContract } from "./store-contract-imports.js";
import { describeListContract } from "./store-contract-lists.js";
import { describeReadContract } from "./store-contract-reads.js";
import { describeWriteContract } from "./store-contract-writes.js";
import { type OpenStore, openStore } from "./store-support.js";

for (const [name, options] of [
  ["reading directly", {}],
  ["reading from leaders", { isClustered: true }],
  ["answering from memory", { isExclusive: true }],
] as const) {
  let server: TestNatsServer;
  let open: OpenStore;
  beforeAll(async () => {
    server = await startNatsServer();
    open = await openStore(server.url, options);
  });
  afterAll(async () => {
    await open.close();
    await server.remove();
  });
  describeBucketContract(name, () => open.store);
  describeReadContract(name, () => open.store);
  describeWriteContract(name, () => open.store);
  describeListContract(name, () => open.store);
  describeImportContract(name, () => open.store);
}
