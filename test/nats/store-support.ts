/** Stores on real servers, for the tests of the store. */
import type { NatsConnection } from "@nats-io/transport-node";
import { DEFAULT_LIMITS, type Limits } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import { Link } from "../../src/nats/client/link.js";
import type { Log } from "../../src/nats/client/log.js";
import { connect } from "../../src/nats/client/transport.js";
import { Feeds } from "../../src/nats/feed/feeds.js";
import type { BatchStaging } from "../../src/nats/embedded/batch-staging.js";
import { createJetStreamStore, type Watches } from "../../src/nats/store.js";
import { withPatience } from "../support/nats-connection.js";
import { succeeds, until } from "../support/until.js";
import { scope } from "./store-contract.js";

/** Watches are another part's tests. */
export const NO_WATCHES: Watches = {
  watch: () => Promise.reject(new Error("no watches here")),
  bucketDeleted: () => undefined,
  close: () => Promise.resolve(),
};

export interface OpenStore {
  readonly store: Store;
  readonly connection: NatsConnection;
  readonly link: Link;
  readonly bulk: Link;
  readonly feed: Link;
  readonly feeds: Feeds;
  close(): Promise<void>;
}

export function linkOf(connection: NatsConnection, limits: Limits = DEFAULT_LIMITS, main?: Link): Link {
  return new Link(connection, {
    unreadBytesMax: limits.natsUnreadBytesMax,
    log: { warn: () => undefined },
    main,
  });
}

async function dial(servers: string | string[], user: StoreOptions["user"]): Promise<NatsConnection> {
  const connection = await connect({
    ...{ servers, ...user },
    maxReconnectAttempts: -1,
    timeout: 10_000,
    noAsyncTraces: true,
  });
  return withPatience(connection);
}

export interface StoreOptions {
  readonly isClustered?: boolean;
  readonly isExclusive?: boolean;
  readonly replicas?: number;
  readonly watches?: Watches;
  readonly limits?: Limits;
  readonly groupCommit?: boolean;
  readonly staging?: BatchStaging | undefined;
  readonly user?: { readonly user: string; readonly pass: string };
  readonly indexFolder?: string;
  readonly log?: Log;
  /** The servers of the bulk connection, and of the feeds'. Default: those of the main connection. */
  readonly bulkServers?: string;
  readonly feedServers?: string;
}

/** How long one reply may take: a server that has just started may drop a request. */
const PING_MS = 5_000;

/** Resolves when both connections of a store are up, and JetStream answers on them. */
export function untilConnected({ store, bulk }: Pick<OpenStore, "store" | "bulk">): Promise<void> {
  return until(
    "the store is connected",
    async () => bulk.isConnected && (await succeeds(store.ping(scope(PING_MS)))),
  );
}

/** Opens a store over connections of its own, which reconnect for as long as it takes. */
export async function openStore(servers: string | string[], options: StoreOptions = {}): Promise<OpenStore> {
  const connection = await dial(servers, options.user);
  const bulkConnection = await dial(options.bulkServers ?? servers, options.user);
  const limits = options.limits ?? DEFAULT_LIMITS;
  const link = linkOf(connection, limits);
  const bulk = linkOf(bulkConnection, limits, link);
  const isClustered = options.isClustered ?? false;
  const feedConnection = await dial(options.feedServers ?? servers, options.user);
  const log = { info: () => undefined, debug: () => undefined };
  const feed = linkOf(feedConnection, limits, link);
  const feeds = new Feeds({ link: feed, bulk, isClustered, limits, log });
  const store = createJetStreamStore({
    link,
    bulk,
    feeds,
    isClustered,
    isExclusive: options.isExclusive ?? false,
    limits,
    watches: options.watches ?? NO_WATCHES,
    replicas: options.replicas,
    groupCommit: options.groupCommit,
    staging: options.staging,
    indexFolder: options.indexFolder,
    log: options.log,
    maxPayloadBytes: connection.info?.max_payload ?? 0,
  });
  return {
    store,
    connection,
    link,
    bulk,
    feed,
    feeds,
    async close() {
      await store.close();
      await feeds.close();
      await feedConnection.close();
      await connection.close();
      await bulkConnection.close();
    },
  };
}
