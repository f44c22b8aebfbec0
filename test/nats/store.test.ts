/** The store on a real nats-server. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import { createJetStreamStore, type Watches } from "../../src/nats/store.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { describeStoreContract } from "./store-contract.js";

const noWatches: Watches = {
  watch: () => Promise.reject(new Error("no watches here")),
  bucketDeleted: () => undefined,
  close: () => Promise.resolve(),
};

for (const isClustered of [false, true]) {
  let server: TestNatsServer;
  let connection: NatsConnection;
  let store: Store;
  beforeAll(async () => {
    server = await startNatsServer();
    connection = await connect({ servers: server.url });
    store = createJetStreamStore({
      connection,
      isClustered,
      limits: DEFAULT_LIMITS,
      watches: noWatches,
      maxPayloadBytes: 8_000_000,
      log: { warn: () => undefined },
    });
  });
  afterAll(async () => {
    await store.close();
    await connection.close();
    await server.remove();
  });
  describeStoreContract(isClustered ? "reading from leaders" : "reading directly", () => store);
}
