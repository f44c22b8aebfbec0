/** Starts the complete service in this process, for the `serve` command and for programs that embed it (`ironflow-kv/server`). */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino, type Logger } from "pino";
import { type Auth, startAuth } from "./auth/auth.js";
import { type Config, isLoopback, loadConfig } from "./config/config.js";
import { serveMetrics } from "./listener/metrics-server.js";
import { ConnectionStats } from "./nats/client/connection-stats.js";
import { createJetStreamStore } from "./nats/store.js";
import { createSystemBuckets } from "./nats/system-bucket.js";
import { Feeds } from "./nats/feed/feeds.js";
import { WatchHubs } from "./nats/watch/hubs.js";
import { QueueMemory } from "./nats/watch/queue-memory.js";
import { createDoors } from "./protocol/doors.js";
import { loadStaticFiles } from "./protocol/static.js";
import type { MetricsOptions } from "./protocol/metrics.js";
import { type Listener, listen } from "./listener/listener.js";
import { Health } from "./service/health.js";
import type { OpenSystemBucket } from "./service/configs.js";
import { createRegistry } from "./service/registry.js";
import { followTls, loadTls } from "./listener/tls-files.js";
import type { EmbeddedStart } from "./embedded-start.js";
import { connectStorage } from "./storage.js";
import { createTelemetry } from "./telemetry/telemetry.js";
import { packageVersion } from "./version.js";

export { ConfigError } from "./config/config.js";
export type { Config } from "./config/config.js";

/** The folder in the data directory for copies of the key indexes. */
const INDEX_FOLDER = "key-index";
const NEVER = new AbortController().signal;

/** A running service. */
export interface Service {
  /** Such as http://127.0.0.1:9123. */
  readonly url: string;
  readonly port: number;
  /** The port of METRICS_PORT; undefined: there is none. */
  readonly metricsPort: number | undefined;
  /** Whether calls need no API key. */
  readonly isOpen: boolean;
  /**
   * Stops gracefully: accepts no new calls, ends watches with the revision to resume from, waits for calls in flight (at most
   * DRAIN_TIMEOUT_MS), then closes the storage. Repeated calls have no effect.
   */
  stop(): Promise<void>;
}

export interface StartOptions {
  /** Settings by flag name, such as `{ port: "0", "data-dir": "./data" }`. */
  readonly settings?: Readonly<Record<string, string | undefined>>;
  /** Environment variables to read settings from as well. Default: none. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Default: JSON lines on standard output at LOG_LEVEL. */
  readonly logger?: Logger;
  /** The embedded server, if its start has begun with the same settings; it stops with the service. Default: it is started. */
  readonly embedded?: EmbeddedStart | undefined;
  /** NATS_URL is the embedded server of another process of this service, which runs as DURABILITY says. Default: false. */
  readonly isEmbeddedElsewhere?: boolean;
  /** Why that server accepts no writes; undefined: it does. */
  readonly problemElsewhere?: (() => string | undefined) | undefined;
  /** Called on a fatal error, such as when the embedded nats-server can't be restarted. */
  readonly onFatal?: (error: Error) => void;
}

/**
 * Starts the service; resolves when it is ready. Rejects with ConfigError for invalid settings, and with a one-line Error message if the
 * storage can't be started or reached, or the port can't be opened. A failed start leaves nothing running.
 */
export async function startService(options: StartOptions = {}): Promise<Service> {
  const config = loadConfig(options.environment ?? {}, options.settings ?? {});
  const log = options.logger ?? pino({ level: config.logLevel });
  const undo: (() => Promise<unknown>)[] = [];
  const stopAll = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return await start(config, log, undo, stopAll, options);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function start(
  config: Config,
  log: Logger,
  undo: (() => Promise<unknown>)[],
  stopAll: () => Promise<void>,
  { onFatal, embedded, isEmbeddedElsewhere = false, problemElsewhere }: StartOptions,
): Promise<Service> {
  const startedAtMs = Date.now();
  for (const warning of config.warnings) log.warn(warning);
  const connecting = connectStorage({
    ...{ config, log, undo, onFatal, embedded },
    ...{ isEmbeddedElsewhere, problemElsewhere },
  });
  connecting.catch(() => undefined);
  // While the server starts.
  loadStaticFiles();
  const nats = await connecting;
  const { link, bulk, isClustered, maxPayloadBytes } = nats;
  const feeds = new Feeds({ link: nats.feed, bulk, isClustered, limits: config.limits, log });
  // What was written before the outage is read before it can be superseded.
  link.waitAfterOutages(() => feeds.recovered());
  undo.push(() => feeds.close());
  const queueMemory = new QueueMemory(config.limits.totalWatchQueueBytesMax);
  const watches = new WatchHubs({ link: bulk, feeds, isClustered, limits: config.limits, queueMemory });
  const store = createJetStreamStore({
    link,
    bulk,
    isClustered,
    // Only workers share the embedded server.
    isExclusive: config.natsUrl === undefined && config.workers === 1,
    maxPayloadBytes,
    limits: config.limits,
    feeds,
    watches,
    replicas: config.replicas,
    durability: nats.durability,
    groupCommit: config.groupCommit,
    staging: nats.staging,
    disk: nats.disk,
    indexFolder: config.natsUrl === undefined ? join(config.dataDir, INDEX_FOLDER) : undefined,
    log,
  });
  undo.push(() => store.close());
  const health = new Health(
    () => store.ping({ deadlineMs: performance.now() + config.limits.readyTimeoutMs, signal: NEVER }),
    nats.problem,
  );
  const systemBuckets = createSystemBuckets({ ...nats, replicas: config.replicas, queueMemory, log });
  undo.push(() => systemBuckets.close());
  const systemBucket: OpenSystemBucket = (bucket, family) => systemBuckets.bucket(bucket, family);
  const auth = await connectAuth(config, log, undo, systemBucket);
  const telemetry = createTelemetry({ log, isWorker: config.workers > 1 });
  const registry = createRegistry({
    store,
    limits: config.limits,
    access: auth.access,
    apiKeys: auth.keys,
    systemBucket,
    health,
    reflection: config.reflection,
    instance: () => ({
      natsVersion: nats.serverVersion(),
      natsServer: nats.server(),
      isStorageExternal: config.natsUrl !== undefined && !isEmbeddedElsewhere,
      durability: nats.durability(),
      warnings: nats.warnings(),
      startedAtMs,
      connections: listener.state().connections,
      watches: watches.stats().watchers,
      watchedBuckets: watches.stats().hubs.length,
      disk: nats.disk,
    }),
    observer: telemetry.observer,
  });
  const metrics = { metricsText: () => telemetry.metricsText(), access: auth.access, log };
  const doors = createDoors({
    ...{ registry, health, metrics, config, log, version: packageVersion() },
    needsNoKey: () => auth.needsNoKey,
  });
  const tls = await loadTls(config);
  const listener = await listen({
    host: config.host,
    port: config.port,
    limits: config.limits,
    tls,
    clientCertificates: config.tlsClientAuth,
    http2: config.http2,
    handler: doors,
    onFault: (error) => log.error({ err: error }, "a request could not be handled"),
  }).catch((error: unknown) => {
    throw new Error(listenSentence(error, config.host, config.port, "PORT"), { cause: error });
  });
  telemetry.addServiceMetrics(
    {
      wire: () => listener.state(),
      watchQueueBytes: () => queueMemory.bytes,
      watches: () => watches.stats(),
      nats: new ConnectionStats({ calls: link, bulk, feed: nats.feed }, log),
      disk: config.limits.diskReserveBytes === 0 ? undefined : nats.disk,
      compactedTombstones: () => store.compactedTombstones(),
      keyIndexes: () => store.keyIndexes(),
      groupCommits: () => store.groupCommits(),
      sizes: () =>
        store.sizes({ deadlineMs: performance.now() + config.limits.readyTimeoutMs, signal: NEVER }),
    },
    config.metricsPerBucket,
  );
  undo.push(() => drain(listener, watches, health, config));
  if (tls !== undefined) {
    const following = followTls(tls, {
      config,
      intervalMs: config.limits.tlsReloadIntervalMs,
      log,
      use: (material) => listener.useTls(material),
    });
    undo.push(() => {
      following.stop();
      return Promise.resolve();
    });
  }
  // Opened last and closed first of the two: a worker counts as started when its first port is open.
  const metricsPort = await openMetricsPort(config, metrics, undo);
  log.info({ url: listener.url, durability: nats.durability() }, "ironflow-kv is ready");
  let stopping: Promise<void> | undefined;
  return {
    url: listener.url,
    port: listener.port,
    metricsPort,
    get isOpen() {
      return auth.needsNoKey;
    },
    stop: () => (stopping ??= stopAll()),
  };
}

/** Opens METRICS_PORT if it is set. */
async function openMetricsPort(
  config: Config,
  metrics: MetricsOptions,
  undo: (() => Promise<unknown>)[],
): Promise<number | undefined> {
  const { metricsHost: host, metricsPort: port } = config;
  if (port === undefined) return undefined;
  const server = await serveMetrics({ host, port }, config.limits, metrics).catch((error: unknown) => {
    throw new Error(listenSentence(error, host, port, "METRICS_PORT"), { cause: error });
  });
  undo.push(() => {
    server.stop();
    return Promise.resolve();
  });
  return server.port;
}

/** Loads the API keys. */
async function connectAuth(
  config: Config,
  log: Logger,
  undo: (() => Promise<unknown>)[],
  bucket: OpenSystemBucket,
): Promise<Auth> {
  const auth = await startAuth({
    bucket,
    adminKey: config.apiKey,
    certificateRules: config.tlsClientScopes,
    limits: config.limits,
    log,
  });
  undo.push(() => {
    auth.close();
    return Promise.resolve();
  });
  if (auth.needsNoKey && !isLoopback(config.host)) {
    log.warn(
      "no API key is set and ALLOW_ANONYMOUS is true: anyone who can reach this address has full access",
    );
  }
  return auth;
}

/** Why the port can't be opened, and what to do. */
function listenSentence(error: unknown, host: string, port: number, setting: string): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE")
    return `Port ${port} of ${host} is in use; set ${setting} to another port, or stop the process that listens on it.`;
  if (code === "EACCES")
    return `Port ${port} of ${host} needs more privileges; set ${setting} to 1024 or more.`;
  if (code === "EADDRNOTAVAIL")
    return `${setting.replace("PORT", "HOST")} is ${host}, which is not an address of this machine; set it to one, or to 0.0.0.0 for all.`;
  return `Port ${port} of ${host} can't be opened: ${message}.`;
}

/** Ends watches first, with their resume revision, because they never end on their own. */
async function drain(listener: Listener, watches: WatchHubs, health: Health, config: Config): Promise<void> {
  health.stop();
  listener.announceStop();
  await sleep(config.limits.shutdownDelayMs);
  listener.stopAccepting();
  health.close();
  await Promise.all([watches.close(), listener.drain(config.limits.drainTimeoutMs)]);
}
