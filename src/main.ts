#!/usr/bin/env node
/** The command `ironflow-kv`: `serve`, and the client's verbs. Signals, exit codes, and nothing else. */
import { pino } from "pino";
import { buildProgram } from "./cli/program.js";
import { ALL_SETTINGS, ConfigError, loadConfig } from "./config.js";
import { type Service, startService } from "./embed.js";

/** Exit codes of `serve`: a setting is wrong; the service could not start or go on. */
const EXIT_SETTING = 2;
const EXIT_FAILED = 1;

async function serve(flags: Readonly<Record<string, string | undefined>>): Promise<number> {
  let service: Service | undefined;
  try {
    const config = loadConfig(process.env, flags);
    const logger = pino({
      level: config.logLevel,
      ...(process.stdout.isTTY
        ? { transport: { target: "pino-pretty", options: { ignore: "pid,hostname" } } }
        : {}),
    });
    return await new Promise<number>((resolve, reject) => {
      const stop = (signal: NodeJS.Signals): void => {
        // A second signal does not wait.
        process.once(signal, () => process.exit(EXIT_FAILED));
        logger.info({ signal }, "stopping");
        Promise.resolve(service?.stop()).then(() => resolve(0), reject);
      };
      process.once("SIGTERM", stop);
      process.once("SIGINT", stop);
      startService({ settings: flags, environment: process.env, logger, onFatal: reject }).then((started) => {
        service = started;
        if (process.stdout.isTTY) process.stdout.write(`\n  ironflow-kv is ready on ${started.url}\n\n`);
      }, reject);
    });
  } catch (error) {
    process.stderr.write(`ironflow-kv: ${error instanceof Error ? error.message : String(error)}\n`);
    await service?.stop().catch(() => undefined);
    return error instanceof ConfigError ? EXIT_SETTING : EXIT_FAILED;
  }
}

const program = buildProgram({
  serve,
  settings: ALL_SETTINGS,
  io: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env },
});
process.exitCode = await program.run(process.argv.slice(2));
if (process.argv[2] === "serve") process.exit();
