/**
 * NATS servers, stores and services for tests: `const it = storeTest()`, then `it("...", async ({ store, bucket }) => ...)`. A fixture starts
 * when the first test or hook names it, and ends by itself.
 */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { test } from "vitest";
import type { Limits } from "../../src/kv/limits.js";
import type { BucketConfig, Store } from "../../src/kv/store.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import { type FaultyLink, openFaultyLink } from "../nats/faulty-link.js";
import { newBucketName, scope } from "../nats/store-contract.js";
import { type OpenStore, openStore, type StoreOptions } from "../nats/store-support.js";
import { newHubs } from "../nats/watching.js";
import { type NatsServerOptions, startNatsServer, type TestNatsServer } from "./nats-server.js";
import { startTestService, type TestService } from "./service.js";

export interface StoreTestOptions {
  /** Gives the file a server of its own, for tests that restart it, fill it or list all of its buckets. Default: shared by the files of a worker. */
  readonly ownServer?: NatsServerOptions;
  readonly store?: StoreOptions;
  /** The limits of `faulty`. Default: those of the service. */
  readonly faultyLimits?: Limits;
  /** Creates `bucket` with these settings. Default: `bucket` is a name that no bucket has. */
  readonly bucket?: Omit<BucketConfig, "name">;
  /** The limits of `hubs`. */
  readonly hubs?: Partial<Limits>;
}

/** The first use starts it; it ends with the worker. */
type SharedServer = () => Promise<TestNatsServer>;

const withSharedServer = test.extend(
  "sharedServer",
  { scope: "worker" },
  // eslint-disable-next-line no-empty-pattern -- Vitest reads the names of fixtures from the pattern.
  ({}, { onCleanup }): SharedServer => {
    let server: Promise<TestNatsServer> | undefined;
    onCleanup(async () => (await server)?.remove());
    return () => (server ??= startNatsServer({ isShared: true }));
  },
);

/** Tests of stores on a real nats-server. */
export const storeTest = ({
  ownServer,
  store: storeOptions,
  faultyLimits,
  bucket: bucketConfig,
  hubs: hubLimits,
}: StoreTestOptions = {}) =>
  withSharedServer
    .extend("server", { scope: "file" }, async ({ sharedServer }, { onCleanup }): Promise<TestNatsServer> => {
      if (ownServer === undefined) return sharedServer();
      const server = await startNatsServer(ownServer);
      onCleanup(() => server.remove());
      return server;
    })
    /** A connection of another program. */
    .extend("connection", { scope: "file" }, async ({ server }, { onCleanup }): Promise<NatsConnection> => {
      const connection = await connect({ servers: server.url, maxReconnectAttempts: -1 });
      onCleanup(() => connection.close());
      return connection;
    })
    .extend("open", { scope: "file" }, async ({ server }, { onCleanup }): Promise<OpenStore> => {
      const open = await openStore(server.url, storeOptions);
      onCleanup(() => open.close());
      return open;
    })
    .extend("store", { scope: "file" }, ({ open }): Store => open.store)
    /** A second copy of the service. */
    .extend("otherCopy", { scope: "file" }, async ({ server }, { onCleanup }): Promise<OpenStore> => {
      const open = await openStore(server.url, storeOptions);
      onCleanup(() => open.close());
      return open;
    })
    .extend("bucket", async ({ store }): Promise<string> => {
      const name = newBucketName();
      if (bucketConfig !== undefined) await store.createBucket({ ...bucketConfig, name }, scope());
      return name;
    })
    /** A link to the server that can fail. */
    .extend("link", async ({ server }, { onCleanup }): Promise<FaultyLink> => {
      const link = await openFaultyLink(server.port);
      onCleanup(() => link.close());
      return link;
    })
    /** A copy of the service over that link. */
    .extend("faulty", async ({ link }, { onCleanup }): Promise<OpenStore> => {
      const faulty = await openStore(link.url, {
        ...storeOptions,
        ...(faultyLimits === undefined ? {} : { limits: faultyLimits }),
      });
      onCleanup(async () => {
        link.heal();
        await faulty.close();
      });
      return faulty;
    })
    .extend("hubs", ({ open }, { onCleanup }): WatchHubs => {
      const hubs = newHubs(open.connection, hubLimits);
      onCleanup(() => hubs.close());
      return hubs;
    });

/** Tests of a whole service with its own nats-server, for the file. Settings by flag, such as `{ "api-key": "..." }`. */
export const serviceTest = (settings: Record<string, string> = {}) =>
  test.extend(
    "service",
    { scope: "file" },
    // eslint-disable-next-line no-empty-pattern -- Vitest reads the names of fixtures from the pattern.
    async ({}, { onCleanup }): Promise<TestService> => {
      const service = await startTestService(settings);
      onCleanup(() => service.remove());
      return service;
    },
  );
