/** Stores on real servers, for the tests of the store. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { DEFAULT_LIMITS, type Limits } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import { createJetStreamStore, type Watches } from "../../src/nats/store.js";

/** Watches are another part's tests. */
export const NO_WATCHES: Watches = {
  watch: () => Promise.reject(new Error("no watches here")),
  bucketDeleted: () => undefined,
  close: () => Promise.resolve(),
};

export interface OpenStore {
  readonly store: Store;
  readonly connection: NatsConnection;
  close(): Promise<void>;
}

/** Opens a store over a connection of its own, which reconnects for as long as it takes. */
export async function openStore(
  servers: string | string[],
  options: {
    isClustered?: boolean;
    isExclusive?: boolean;
    replicas?: number;
    watches?: Watches;
    limits?: Limits;
  } = {},
): Promise<OpenStore> {
  const connection = await connect({
    servers,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 20,
    reconnectJitter: 20,
    timeout: 3_000,
    noAsyncTraces: true,
  });
  const store = createJetStreamStore({
    connection,
    isClustered: options.isClustered ?? false,
    isExclusive: options.isExclusive ?? false,
    limits: options.limits ?? DEFAULT_LIMITS,
    watches: options.watches ?? NO_WATCHES,
    replicas: options.replicas,
    maxPayloadBytes: connection.info?.max_payload ?? 0,
    log: { warn: () => undefined },
  });
  return {
    store,
    connection,
    async close() {
      await store.close();
      await connection.close();
    },
  };
}
