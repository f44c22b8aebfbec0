/**
 * NATS servers, stores and services for tests: `const it = storeTest()`, then `it("...", async ({ store, bucket }) => ...)`. A fixture starts
 * when the first test or hook names it, and ends by itself.
 */
/* eslint-disable no-empty-pattern -- Vitest reads the names of fixtures from the pattern. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "./nats-connection.js";
import { test } from "vitest";
import type { Limits } from "../../src/kv/limits.js";
import type { BucketConfig } from "../../src/kv/bucket.js";
import type { Store } from "../../src/kv/store.js";
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

/** Ends what a fixture started, when its scope ends. */
type OnCleanup = (end: () => Promise<void>) => void;

/**
 * Starts a thing with the first fixture that uses it, and ends it with the last. Vitest runs a fixture again for each test function that is
 * extended from another, also where its scope is the file or the worker: without this, each would start its own.
 */
function shared<Thing>(end: (thing: Thing) => Promise<unknown>) {
  let started: Promise<Thing> | undefined;
  let users = 0;
  return (onCleanup: OnCleanup) => {
    users++;
    onCleanup(async () => {
      if (--users > 0 || started === undefined) return;
      const ending = started;
      started = undefined;
      await end(await ending);
    });
    return (start: () => Promise<Thing>): Promise<Thing> => (started ??= start());
  };
}

const sharedByWorker = shared((server: TestNatsServer) => server.remove());

const withSharedServer = test.extend(
  "sharedServer",
  { scope: "worker" },
  ({}, { onCleanup }): SharedServer => {
    const share = sharedByWorker(onCleanup);
    return () => share(() => startNatsServer({ isShared: true }));
  },
);

/** Tests of stores on a real nats-server. */
export const storeTest = ({
  ownServer,
  store: storeOptions,
  faultyLimits,
  bucket: bucketConfig,
  hubs: hubLimits,
}: StoreTestOptions = {}) => {
  const servers = shared((server: TestNatsServer) => server.remove());
  const connections = shared((connection: NatsConnection) => connection.close());
  const stores = shared((open: OpenStore) => open.close());
  const otherStores = shared((open: OpenStore) => open.close());
  return (
    withSharedServer
      .extend(
        "server",
        { scope: "file" },
        async ({ sharedServer }, { onCleanup }): Promise<TestNatsServer> => {
          if (ownServer !== undefined) return servers(onCleanup)(() => startNatsServer(ownServer));
          const server = await sharedServer();
          // The files after one that ended it are not to blame.
          await server.start();
          return server;
        },
      )
      /** A connection of another program. */
      .extend("connection", { scope: "file" }, ({ server }, { onCleanup }): Promise<NatsConnection> =>
        connections(onCleanup)(() => connect({ servers: server.url, maxReconnectAttempts: -1 })),
      )
      .extend("open", { scope: "file" }, ({ server }, { onCleanup }): Promise<OpenStore> =>
        stores(onCleanup)(() => openStore(server.url, storeOptions)),
      )
      .extend("store", { scope: "file" }, ({ open }): Store => open.store)
      /** A second copy of the service. */
      .extend("otherCopy", { scope: "file" }, ({ server }, { onCleanup }): Promise<OpenStore> =>
        otherStores(onCleanup)(() => openStore(server.url, storeOptions)),
      )
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
      })
  );
};

/** Starts a service that ends with the file. Settings by flag, such as `{ "api-key": "..." }`. */
export type StartService = (settings?: Record<string, string>, logger?: Logger) => Promise<TestService>;

function startsServices(onCleanup: OnCleanup, common: Record<string, string> = {}): StartService {
  const services: TestService[] = [];
  onCleanup(async () => {
    await Promise.all(services.map((service) => service.remove()));
  });
  return async (settings, logger) => {
    const service = await startTestService({ ...common, ...settings }, logger);
    services.push(service);
    return service;
  };
}

/** Tests of a whole service with its own nats-server, for the file. */
export const serviceTest = (...[settings, logger]: Parameters<StartService>) => {
  const services = shared((service: TestService) => service.remove());
  return (
    test
      /** A folder, removed with what is in it. */
      .extend("folder", { scope: "file" }, async ({}, { onCleanup }): Promise<string> => {
        const folder = await mkdtemp(join(tmpdir(), "ironflow-test-"));
        onCleanup(() => rm(folder, { recursive: true, force: true }));
        return folder;
      })
      /** Starts another service, with a nats-server of its own. */
      .extend("startService", { scope: "file" }, ({}, { onCleanup }) => startsServices(onCleanup))
      .extend("service", { scope: "file" }, ({}, { onCleanup }) =>
        services(onCleanup)(() => startTestService(settings, logger)),
      )
  );
};

/** Tests of a copy of the service on the file's nats-server, and of others that `startCopy` starts. */
export const copiesTest = (settings?: Record<string, string>) => {
  const services = shared((service: TestService) => service.remove());
  return storeTest({ ownServer: {} })
    .extend("startCopy", { scope: "file" }, ({ server }, { onCleanup }) =>
      startsServices(onCleanup, { "nats-url": server.url }),
    )
    .extend("service", { scope: "file" }, ({ server }, { onCleanup }) =>
      services(onCleanup)(() => startTestService({ ...settings, "nats-url": server.url })),
    );
};
