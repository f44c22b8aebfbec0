/** Starts the embedded nats-server or connects to an external one, and determines the durability of acknowledged writes. */
import { join } from "node:path";
import type { Logger } from "pino";
import type { Config } from "./config/config.js";
import type { Durability } from "./kv/bucket.js";
import { type ConnectedNats, connectNats, type ConnectOptions } from "./nats/client/connect.js";
import type { BatchStaging } from "./nats/embedded/batch-staging.js";
import { DiskGuard } from "./nats/embedded/disk-guard.js";
import { memoryStaging } from "./nats/embedded/memory-staging.js";
import { STORE_FOLDER } from "./nats/embedded/server-config.js";
import type { EmbeddedNats } from "./nats/embedded/embedded-nats.js";
import { EmbeddedStart } from "./embedded-start.js";
import { Link } from "./nats/client/link.js";
import { LastServer, type ServerIdentity } from "./nats/client/server-identity.js";
import { capabilitiesOf, oldServerWarning, RELIABLE_SERVER_VERSION } from "./nats/client/server-version.js";

/** The most bytes of bulk reads that one turn of the event loop takes: a millisecond's work or two, where they are small messages. */
const BULK_TURN_BYTES = 65_536;

export interface StorageOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Whether NATS_URL is the embedded server of another process of this service. */
  readonly isEmbeddedElsewhere: boolean;
  /** Why that server accepts no writes; undefined: it does. */
  readonly problemElsewhere?: (() => string | undefined) | undefined;
  /** The embedded server, if its start has begun. */
  readonly embedded?: EmbeddedStart | undefined;
  /** Receives cleanup steps for shutdown, which run in reverse order. */
  readonly undo: (() => Promise<unknown>)[];
  /** Called when the embedded server can't be kept running. */
  readonly onFatal?: ((error: Error) => void) | undefined;
}

export interface Storage extends Omit<ConnectedNats, "connection" | "serverVersion"> {
  /** For calls with small answers. */
  readonly link: Link;
  /** For histories, lists and what watches show first. */
  readonly bulk: Link;
  /** For live changes, which the server sends without being asked: it closes this connection where they are read too slowly. */
  readonly feed: Link;
  /** Guards the free disk space; undefined if the disk is not visible from here. */
  readonly disk: DiskGuard | undefined;
  /** Why the storage accepts no writes after a failed disk write. Undefined: no failure, or not visible from here. */
  readonly problem: () => string | undefined;
  /** The version of the connected server, such as `2.15.1`. */
  readonly serverVersion: () => string;
  /** Stages batches of writes in memory. */
  readonly staging: BatchStaging | undefined;
  /** The connected server, and its cluster. */
  readonly server: () => ServerIdentity;
  /** What an operator should know about the connected server, as sentences. */
  readonly warnings: () => readonly string[];
  /** The durability of acknowledged writes on the connected server. */
  readonly durability: () => Durability;
}

/** Connects; resolves when JetStream answers. Rejects with a one-line Error message. */
export async function connectStorage(options: StorageOptions): Promise<Storage> {
  const { config, log, undo } = options;
  const isOutside = config.natsUrl !== undefined && !options.isEmbeddedElsewhere;
  if (config.natsUrl === undefined && config.durability === "relaxed") log.warn(RELAXED_SENTENCE);
  const guard: { disk?: DiskGuard | undefined } = {};
  const embedded =
    config.natsUrl === undefined ? await startServer(options, () => guard.disk?.reportFull()) : undefined;
  const target: ConnectOptions =
    embedded === undefined
      ? { servers: config.natsUrl ?? "", credsFile: config.natsCreds }
      : { servers: embedded.url, user: embedded.user, pass: embedded.pass };
  const connectAs = async (name: string, turnBytesMax?: number): Promise<ConnectedNats> => {
    const connected = await connectNats({
      ...target,
      name,
      turnBytesMax,
      readyTimeoutMs: config.limits.natsConnectTimeoutMs,
    });
    undo.push(() => connected.connection.close());
    return connected;
  };
  const { connection, serverVersion, ...nats } = await connectAs("ironflow-kv");
  const [bulk, feed] = await both(
    connectAs("ironflow-kv bulk", BULK_TURN_BYTES),
    connectAs("ironflow-kv feed"),
  );
  const { info } = connection;
  if (config.replicas > 1 && !nats.isClustered && info?.jetstream === true) {
    throw new Error(
      `REPLICAS is ${config.replicas}, but the server at NATS_URL is not part of a cluster; set it to 1, or use a cluster.`,
    );
  }
  const version = (): string => connection.info?.version ?? serverVersion;
  const durability = (): Durability => durabilityOf(config, isOutside, version());
  if (durability() === "unknown") log.warn(unknownSentence(config.replicas));
  const linkOptions = { unreadBytesMax: config.limits.natsUnreadBytesMax, log };
  const link = new Link(connection, linkOptions);
  const server = new LastServer(connection);
  link.onReconnect(() => void server.current());
  if (isOutside) warnOfOldServers(link, version, log);
  const problem = (): string | undefined => embedded?.problem ?? options.problemElsewhere?.();
  guard.disk = await guardDisk(options, problem);
  return {
    ...nats,
    staging: isOutside ? undefined : await memoryStaging(config.batchStagingDir, config.dataDir),
    serverVersion: version,
    server: () => server.current(),
    warnings: () => warningsOf(config, isOutside, version(), durability()),
    link,
    bulk: new Link(bulk.connection, { ...linkOptions, main: link }),
    feed: new Link(feed.connection, { ...linkOptions, main: link }),
    durability,
    problem,
    disk: guard.disk,
  };
}

/** Warns if the server at NATS_URL is old, at startup and after each change of its version. */
function warnOfOldServers(link: Link, version: () => string, log: Logger): void {
  const remedy = `Upgrade the server at NATS_URL to ${RELIABLE_SERVER_VERSION} or newer.`;
  let known: string | undefined;
  const check = (): void => {
    const found = version();
    if (found !== known && !capabilitiesOf(found).keepsSyncedWrites)
      log.warn(oldServerWarning(found, remedy));
    known = found;
  };
  check();
  link.onReconnect(check);
}

/** The disk of the embedded server, whichever process of this service runs it. */
async function guardDisk(
  options: StorageOptions,
  problem: () => string | undefined,
): Promise<DiskGuard | undefined> {
  const { config, log, undo } = options;
  if (config.natsUrl !== undefined && !options.isEmbeddedElsewhere) return undefined;
  const { diskReserveBytes: reserveBytes } = config.limits;
  const { dataDir, workers: writers } = config;
  const folder = join(dataDir, STORE_FOLDER);
  const guard = await DiskGuard.start({ folder, reserveBytes, writers, problem, log });
  undo.push(() => {
    guard.stop();
    return Promise.resolve();
  });
  return guard;
}

async function startServer(
  { config, log, undo, onFatal, embedded }: StorageOptions,
  onFull: () => void,
): Promise<EmbeddedNats> {
  const start = embedded ?? new EmbeddedStart(config, log, { onFatal });
  start.onFull = onFull;
  undo.push(() => start.stop());
  return start.ready;
}

/** Waits for both, also if one fails: none must be left open. */
async function both<Value>(one: Promise<Value>, other: Promise<Value>): Promise<readonly [Value, Value]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/**
 * The durability of acknowledged writes. The embedded server was checked to follow DURABILITY; an external one does not tell its clients
 * whether it syncs. An old server may lose synced writes.
 */
function durabilityOf(config: Config, isOutside: boolean, serverVersion: string): Durability {
  if (!capabilitiesOf(serverVersion).keepsSyncedWrites) return "relaxed";
  if (isOutside) return "unknown";
  return config.durability === "safe" ? "synced" : "relaxed";
}

const RELAXED_SENTENCE = "DURABILITY is relaxed: a power failure may lose the last acknowledged writes";

/** The warnings that the log has at each start, for GetStatus. */
function warningsOf(
  config: Config,
  isOutside: boolean,
  serverVersion: string,
  durability: Durability,
): readonly string[] {
  const warnings: string[] = [];
  if (!capabilitiesOf(serverVersion).keepsSyncedWrites)
    warnings.push(oldServerWarning(serverVersion, `Use ${RELIABLE_SERVER_VERSION} or newer.`));
  else if (durability === "unknown") warnings.push(sentenceFrom(unknownSentence(config.replicas)));
  if (!isOutside && config.durability === "relaxed") warnings.push(`${RELAXED_SENTENCE}.`);
  return warnings;
}

function sentenceFrom(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function unknownSentence(replicas: number): string {
  const what = "the service cannot tell whether the server at NATS_URL syncs each write to disk";
  const who =
    replicas === 1
      ? "a power failure may lose acknowledged writes, and REPLICAS=1 keeps no other copy"
      : "a simultaneous power failure of most of its cluster may lose acknowledged writes";
  return `${what}: unless its sync_interval is always, ${who}`;
}
