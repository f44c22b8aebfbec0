/** Runs the service, or its workers, until a signal stops it. */
import cluster from "node:cluster";
import type { Logger } from "pino";
import type { ServeFlags } from "./cli/serve-command.js";
import { type Config, ConfigError, loadConfig } from "./config/config.js";
import type { Service } from "./embed.js";
import type { EmbeddedStart } from "./embedded-start.js";
import { followStorageProblem } from "./worker-storage.js";

/** The parts of `process` in use. */
export type Host = Pick<NodeJS.Process, "env" | "argv" | "stdout" | "stderr" | "on" | "once" | "exit">;

/** Exit codes: the service failed to start or had a fatal error; a setting is invalid. */
const EXIT_FAILED = 1;
const EXIT_SETTING = 2;

type Running = Service | { stop(): Promise<void> };

/** Returns the exit code; never rejects. */
export async function serve(flags: ServeFlags, host: Host): Promise<number> {
  try {
    const config = loadConfig(host.env, flags);
    const { pino } = await import("pino");
    const logger = pino({
      level: config.logLevel,
      ...(host.stdout.isTTY
        ? { transport: { target: "pino-pretty", options: { ignore: "pid,hostname" } } }
        : {}),
    });
    await runUntilStopped(host, logger, config.limits.drainTimeoutMs, (onFatal) =>
      start(config, flags, host, logger, onFatal),
    );
    return 0;
  } catch (error) {
    host.stderr.write(`ironflow-kv: ${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof ConfigError ? EXIT_SETTING : EXIT_FAILED;
  }
}

async function start(
  config: Config,
  flags: ServeFlags,
  host: Host,
  logger: Logger,
  onFatal: (error: Error) => void,
): Promise<Running> {
  // Loaded on demand: the client commands do not need the service's code.
  if (config.workers > 1 && !cluster.isWorker) {
    const { startWorkers } = await import("./workers.js");
    return startWorkers({ config, log: logger, args: host.argv.slice(2), onFatal });
  }
  const embedded = config.natsUrl === undefined ? await launchEmbedded(config, logger, onFatal) : undefined;
  try {
    return await startOn(embedded, config, flags, host, logger, onFatal);
  } catch (error) {
    await embedded?.stop();
    throw error;
  }
}

/** Resolves when the server's process runs: it reads its files while this process loads the service's code. */
async function launchEmbedded(
  config: Config,
  logger: Logger,
  onFatal: (error: Error) => void,
): Promise<EmbeddedStart> {
  const { EmbeddedStart } = await import("./embedded-start.js");
  const embedded = new EmbeddedStart(config, logger, { onFatal });
  await embedded.launched;
  return embedded;
}

async function startOn(
  embedded: EmbeddedStart | undefined,
  config: Config,
  flags: ServeFlags,
  host: Host,
  logger: Logger,
  onFatal: (error: Error) => void,
): Promise<Service> {
  const [{ startService }, { isWorkerOfEmbedded, workerSettings }, { readyMessage }] = await Promise.all([
    import("./embed.js"),
    import("./workers.js"),
    import("./ready-message.js"),
  ]);
  const problemElsewhere = cluster.worker === undefined ? undefined : followStorageProblem(cluster.worker);
  const service = await startService({
    settings: config.workers > 1 ? { ...flags, ...workerSettings(config) } : flags,
    environment: host.env,
    isEmbeddedElsewhere: isWorkerOfEmbedded(host.env),
    problemElsewhere,
    embedded,
    logger,
    onFatal,
  });
  if (host.stdout.isTTY) host.stdout.write(readyMessage(service, config));
  return service;
}

/**
 * Resolves when a signal has stopped the service. Rejects if the start fails, on a fatal error, and if the service is still starting
 * `startTimeoutMs` after the signal.
 */
async function runUntilStopped(
  host: Host,
  logger: Logger,
  startTimeoutMs: number,
  startWith: (onFatal: (error: Error) => void) => Promise<Running>,
): Promise<void> {
  const { isWorker } = cluster;
  await new Promise<void>((resolve, reject) => {
    const starting = startWith(reject);
    starting.catch(reject);
    const stop = (signal: string): void => {
      // A second signal exits at once. Not in a worker, which may get one signal from the primary and one sent to the process group.
      const onSecond = (): void => {
        if (!isWorker) host.exit(EXIT_FAILED);
      };
      for (const name of ["SIGTERM", "SIGINT"] as const) host.on(name, onSecond);
      logger.info(`${signal}: stopping`);
      const timer = setTimeout(() => {
        reject(new Error(`The start was not complete ${startTimeoutMs} milliseconds after ${signal}.`));
      }, startTimeoutMs);
      starting
        .then((running) => {
          clearTimeout(timer);
          return running.stop();
        })
        .then(resolve, reject);
    };
    // Ctrl-C reaches every process of the terminal; the primary stops the workers by SIGTERM.
    if (isWorker) host.on("SIGINT", () => undefined);
    else host.once("SIGINT", stop);
    host.once("SIGTERM", stop);
  });
}
