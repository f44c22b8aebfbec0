#!/usr/bin/env node
/**
 * The command `ironflow-kv`: `serve` and the client's verbs. Handles signals and exit codes only.
 */
import cluster from "node:cluster";
import { readFileSync } from "node:fs";
import { buildProgram } from "./cli/program.js";
import type { Service } from "./embed.js";
import { flagOf } from "./config-settings.js";
import { ALL_SETTINGS, ConfigError, loadConfig } from "./config.js";

/** Exit codes of `serve`: the service failed to start or had a fatal error; a setting is invalid. */
const EXIT_FAILED = 1;
const EXIT_SETTING = 2;

type Flags = Readonly<Record<string, string | undefined>>;

/** Runs the service until a signal stops it; returns the exit code. */
async function serve(flags: Flags): Promise<number> {
  try {
    return await runService(flags);
  } catch (error) {
    process.stderr.write(`ironflow-kv: ${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof ConfigError ? EXIT_SETTING : EXIT_FAILED;
  }
}

async function runService(flags: Flags): Promise<number> {
  const config = loadConfig(process.env, flags);
  // Loaded on demand: the client's verbs do not need the service's code.
  const [{ startService }, { isWorkerOfEmbedded, startWorkers, workerSettings }, { readyMessage }, { pino }] =
    await Promise.all([
      import("./embed.js"),
      import("./workers.js"),
      import("./ready-message.js"),
      import("pino"),
    ]);
  const logger = pino({
    level: config.logLevel,
    ...(process.stdout.isTTY
      ? { transport: { target: "pino-pretty", options: { ignore: "pid,hostname" } } }
      : {}),
  });
  const isWorker = cluster.isWorker;
  let starting: Promise<Service | { stop(): Promise<void> }> | undefined;
  await new Promise<void>((resolve, reject) => {
    const stop = (why: string): void => {
      // A second signal exits at once. Not in a worker, which may get one signal from the primary and one sent to the process group.
      const onSecond = (): void => {
        if (!isWorker) process.exit(EXIT_FAILED);
      };
      for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, onSecond);
      logger.info(`${why}: stopping`);
      Promise.resolve(starting?.then((running) => running.stop())).then(resolve, reject);
    };
    // Ctrl-C reaches every process of the terminal; the primary stops the workers by SIGTERM.
    if (isWorker) process.on("SIGINT", () => undefined);
    else process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    starting =
      config.workers > 1 && !isWorker
        ? startWorkers({ config, log: logger, args: process.argv.slice(2), onFatal: reject })
        : startService({
            settings: config.workers > 1 ? { ...flags, ...workerSettings(config) } : flags,
            environment: process.env,
            isEmbeddedElsewhere: isWorkerOfEmbedded(process.env),
            logger,
            onFatal: reject,
          });
    starting.then((running) => {
      if (process.stdout.isTTY && "isOpen" in running) process.stdout.write(readyMessage(running, config));
    }, reject);
  });
  return 0;
}

const isServing = process.argv[2] === "serve";
const interrupted = new AbortController();
if (!isServing) process.once("SIGINT", () => interrupted.abort());

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const program = buildProgram({
  serve,
  settings: ALL_SETTINGS,
  flagOf,
  version: manifest.version,
  io: {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: interrupted.signal,
  },
});
process.exitCode = await program.run(process.argv.slice(2));
// Exit even if a fault left handles open.
if (isServing) process.exit();
