/** Starts the whole service in this process: the `serve` command and programs that embed it (`ironflow-kv/server`) both call this. */
import { readFile } from "node:fs/promises";
import { pino, type Logger } from "pino";
import { createAuthenticate } from "./auth/api-key.js";
import { type Config, loadConfig } from "./config.js";
import { connectNats } from "./nats/connect.js";
import { startEmbedded } from "./nats/embedded.js";
import { createJetStreamStore } from "./nats/store.js";
import { WatchHubs } from "./nats/watch-hub.js";
import { createDoors } from "./protocol/doors.js";
import { type Listener, listen } from "./server.js";
import { createRegistry } from "./service/registry.js";

export { ConfigError } from "./config.js";
export type { Config } from "./config.js";

/** How long GET /readyz waits for the storage. */
const READY_TIMEOUT_MS = 2_000;
const NEVER = new AbortController().signal;

/** A running service. */
export interface Service {
  /** Such as http://127.0.0.1:9123. */
  readonly url: string;
  readonly port: number;
  /**
   * Stops: takes no new calls, ends watches with the revision to resume from, lets calls in flight finish (DRAIN_TIMEOUT_MS at most),
   * then lets go of the storage. More than once is harmless.
   */
  stop(): Promise<void>;
}

export interface StartOptions {
  /** Settings by the names of their flags, such as `{ port: "0", "data-dir": "./data" }`. */
  readonly settings?: Readonly<Record<string, string | undefined>>;
  /** The environment that settings come from too. Default: none. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Default: JSON lines on standard output at LOG_LEVEL. */
  readonly logger?: Logger;
  /** Called when the service can't go on, such as when its nats-server can't be kept running. */
  readonly onFatal?: (error: Error) => void;
}

/**
 * Starts the service; resolves when it answers. Rejects with ConfigError for malformed settings, and with an Error whose message is one
 * line for people where the storage can't be started or reached, or the port can't be opened; nothing is left running then.
 */
export async function startService(options: StartOptions = {}): Promise<Service> {
  const config = loadConfig(options.environment ?? {}, options.settings ?? {});
  const log = options.logger ?? pino({ level: config.logLevel });
  const undo: (() => Promise<unknown>)[] = [];
  const stopAll = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return await start(config, log, undo, stopAll, options.onFatal);
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
  onFatal: ((error: Error) => void) | undefined,
): Promise<Service> {
  const nats = await connectStorage(config, log, undo, onFatal);
  const { connection, isClustered, maxPayloadBytes } = nats;
  const watches = new WatchHubs({ connection, isClustered, limits: config.limits, log });
  const store = createJetStreamStore({
    connection,
    isClustered,
    maxPayloadBytes,
    limits: config.limits,
    watches,
    replicas: config.replicas,
    log,
  });
  undo.push(() => store.close());
  const registry = createRegistry({
    store,
    limits: config.limits,
    authenticate: createAuthenticate(config.apiKey),
    onFault: (error, method) =>
      log.error({ err: error, method: method.path }, "a call failed by a fault of the service"),
  });
  const readiness = (): Promise<void> =>
    store.ping({ deadlineMs: performance.now() + READY_TIMEOUT_MS, signal: NEVER });
  const doors = createDoors({ registry, readiness, config, log });
  const listener = await listen({
    host: config.host,
    port: config.port,
    limits: config.limits,
    tls: await readTls(config),
    handlers: doors,
  }).catch((error: unknown) => {
    throw new Error(listenSentence(error, config), { cause: error });
  });
  undo.push(() => drain(listener, watches, doors, config));
  log.info({ url: listener.url, durability: config.durability }, "ironflow-kv is ready");
  let stopping: Promise<void> | undefined;
  return { url: listener.url, port: listener.port, stop: () => (stopping ??= stopAll()) };
}

/** Why the port can't be opened, and what to do. */
function listenSentence(error: unknown, { host, port }: Config): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE")
    return `Port ${port} of ${host} is in use; set PORT to another, or stop what listens there.`;
  if (code === "EACCES") return `Port ${port} of ${host} needs more rights; set PORT to 1024 or more.`;
  if (code === "EADDRNOTAVAIL") return `HOST is ${host}, which is no address of this machine.`;
  return `Port ${port} of ${host} can't be opened: ${message}.`;
}

/** Watches end first, with their resume revision; they would never end by themselves. */
async function drain(
  listener: Listener,
  watches: WatchHubs,
  doors: { stop(): void },
  config: Config,
): Promise<void> {
  doors.stop();
  listener.stopAccepting();
  await watches.close();
  await listener.drain(config.limits.drainTimeoutMs);
}

async function connectStorage(
  config: Config,
  log: Logger,
  undo: (() => Promise<unknown>)[],
  onFatal: ((error: Error) => void) | undefined,
): Promise<Awaited<ReturnType<typeof connectNats>>> {
  let target: Parameters<typeof connectNats>[0];
  if (config.natsUrl === undefined) {
    if (config.durability === "relaxed") {
      log.warn("DURABILITY is relaxed: a power failure may lose the last acknowledged writes");
    }
    const embedded = await startEmbedded({
      dataDir: config.dataDir,
      durability: config.durability,
      serverBin: config.natsServerBin,
      log,
      ...(onFatal === undefined ? {} : { onFatal }),
    });
    undo.push(() => embedded.stop());
    target = { servers: embedded.url, user: embedded.user, pass: embedded.pass };
  } else {
    target = { servers: config.natsUrl, credsFile: config.natsCreds };
  }
  const nats = await connectNats({ ...target, name: "ironflow-kv" });
  undo.push(() => nats.connection.close());
  return nats;
}

async function readTls(config: Config): Promise<{ cert: string; key: string } | undefined> {
  if (config.tlsCert === undefined || config.tlsKey === undefined) return undefined;
  return { cert: await readFile(config.tlsCert, "utf8"), key: await readFile(config.tlsKey, "utf8") };
}
