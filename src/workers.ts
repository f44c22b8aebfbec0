/**
 * WORKERS: several processes on one port. The primary process owns the port and the embedded nats-server and serves no calls; each worker is
 * a complete service on that NATS server. The primary replaces a worker that dies.
 */
import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import type { Logger } from "pino";
import type { Config } from "./config/config.js";
import { EmbeddedStart } from "./embedded-start.js";
import { serveWorkerMetrics } from "./telemetry/worker-metrics.js";
import { shareStorageProblem, tellStorageProblem } from "./worker-storage.js";

/** A worker that exits sooner than this failed to start. */
const SHORT_LIFE_MS = 5_000;
/** Consecutive failed starts after which the service exits. */
const FAILED_STARTS_MAX = 5;
const REPLACE_DELAY_MS = 100;
/** Set for workers whose NATS_URL is the primary's embedded server. */
const EMBEDDED_MARK = "WORKER_OF_EMBEDDED_NATS";

/** Whether this process is a worker that shares the primary's embedded server. */
export function isWorkerOfEmbedded(environment: Readonly<Record<string, string | undefined>>): boolean {
  return cluster.isWorker && environment[EMBEDDED_MARK] === "1";
}

export interface WorkersOptions {
  readonly config: Config;
  readonly log: Logger;
  /** The command line of each worker, which is that of this process. */
  readonly args: readonly string[];
  readonly onFatal: (error: Error) => void;
}

/** One worker's share of the limits that apply to the service as a whole, as flags. */
export function workerSettings(config: Config): Record<string, string> {
  const share = (total: number): string => String(Math.ceil(total / config.workers));
  return {
    "watches-max": share(config.limits.watchesMax),
    "watches-per-api-key-max": share(config.limits.watchesPerApiKeyMax),
    "connections-max": share(config.limits.connectionsMax),
    "calls-per-second-max": share(config.limits.callsPerSecondMax),
  };
}

/** Starts the workers; resolves when all are ready. `stop()` stops them and the embedded server. */
export async function startWorkers(options: WorkersOptions): Promise<{ stop(): Promise<void> }> {
  const { config, log } = options;
  const embedded =
    config.natsUrl === undefined
      ? await new EmbeddedStart(config, log, { onProblem: shareStorageProblem, onFatal: options.onFatal })
          .ready
      : undefined;
  const environment =
    embedded === undefined ? {} : { NATS_URL: urlWithCredentials(embedded), [EMBEDDED_MARK]: "1" };
  const crew = new Crew(options, environment, () => embedded?.problem);
  const stop = async (): Promise<void> => {
    await crew.stop();
    await embedded?.stop();
  };
  try {
    await crew.start();
    log.info({ workers: config.workers }, "all workers are ready");
    return { stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

class Crew {
  private failedStarts = 0;
  private isStopping = false;

  constructor(
    private readonly options: WorkersOptions,
    private readonly environment: Record<string, string>,
    private readonly storageProblem: () => string | undefined,
  ) {
    cluster.setupPrimary({ args: [...options.args] });
    serveWorkerMetrics();
  }

  async start(): Promise<void> {
    const workers = Array.from({ length: this.options.config.workers }, () => this.fork());
    await Promise.all(workers.map(untilListening));
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    const gone: Promise<unknown>[] = [];
    for (const worker of Object.values(cluster.workers ?? {})) {
      if (worker === undefined || worker.isDead()) continue;
      gone.push(once(worker, "exit"));
      // Running workers drain; one that is still starting exits immediately.
      worker.process.kill("SIGTERM");
    }
    await Promise.all(gone);
  }

  private fork(): Worker {
    const startedMs = performance.now();
    const worker = cluster.fork(this.environment);
    tellStorageProblem(worker, this.storageProblem());
    worker.once("exit", (code, signal) => {
      if (this.isStopping) return;
      const isShort = performance.now() - startedMs < SHORT_LIFE_MS;
      this.failedStarts = isShort ? this.failedStarts + 1 : 0;
      if (this.failedStarts >= FAILED_STARTS_MAX) {
        this.options.onFatal(
          new Error(`Workers ended ${this.failedStarts} times shortly after their start; see their log.`),
        );
        return;
      }
      this.options.log.error(
        { worker: worker.process.pid, code, signal },
        "a worker ended; starting another",
      );
      setTimeout(() => {
        if (!this.isStopping) this.fork();
      }, REPLACE_DELAY_MS);
    });
    return worker;
  }
}

async function untilListening(worker: Worker): Promise<void> {
  await Promise.race([
    once(worker, "listening"),
    once(worker, "exit").then(() => {
      throw new Error("A worker could not start; see its error message above.");
    }),
  ]);
}

function urlWithCredentials(server: { url: string; user: string; pass: string }): string {
  const url = new URL(server.url);
  url.username = server.user;
  url.password = server.pass;
  return url.href;
}
