/** The contract of a store, kept by the one on a real nats-server. */
import { contractTest } from "./contract-test.js";
import { describeBucketContract } from "./store-contract-buckets.js";
import { describeImportContract } from "./store-contract-imports.js";
import { describeListContract } from "./store-contract-lists.js";
import { describeReadContract } from "./store-contract-reads.js";
import { describeWriteContract } from "./store-contract-writes.js";

for (const [name, options] of [
  ["reading directly", {}],
  ["reading from leaders", { isClustered: true }],
  ["answering from memory", { isExclusive: true }],
] as const) {
  const it = contractTest(options);
  describeBucketContract(name, it);
  describeReadContract(name, it);
  describeWriteContract(name, it);
  describeListContract(name, it);
  describeImportContract(name, it);
}
