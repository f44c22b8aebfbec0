/** What tests of stores on a cluster share. */
import type { NatsConnection } from "@nats-io/transport-node";
import { KvError } from "../../src/kv/errors.js";
import type { BucketConfig } from "../../src/kv/bucket.js";
import type { Store } from "../../src/kv/store.js";
import { until } from "../support/until.js";
import { scope } from "./store-contract.js";

/** Creates a bucket. A new cluster refuses until all of its nodes know each other. */
export function createOnCluster(store: Store, config: BucketConfig): Promise<void> {
  return until("the cluster creates a bucket", async () => {
    const outcome = await store.createBucket(config, scope(30_000)).catch((error: unknown) => error);
    if (outcome instanceof KvError) {
      // It may have been created by a call whose answer was lost.
      if (outcome.kind === "bucket_exists") return true;
      if (outcome.kind !== "unavailable" && outcome.kind !== "outcome_unknown") throw outcome;
      return false;
    }
    if (outcome instanceof Error) throw outcome;
    return true;
  });
}

/** The node, such as `n0`, that leads the bucket's stream; empty while there is none: a stream without a leader does not answer. */
export async function leaderOf(connection: NatsConnection, bucket: string): Promise<string> {
  const info = connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`, "", { timeout: 1_000 });
  const reply = await info.catch(() => undefined);
  return reply?.json<{ cluster?: { leader?: string } }>().cluster?.leader ?? "";
}

/** Makes another node the leader; resolves with it. */
export async function moveLeader(connection: NatsConnection, bucket: string): Promise<string> {
  const before = await leaderOf(connection, bucket);
  await connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.KV_APP_${bucket}`, "", { timeout: 30_000 });
  let leader = "";
  await until("another node leads", async () => {
    leader = await leaderOf(connection, bucket);
    return leader !== "" && leader !== before;
  });
  return leader;
}
