/**
 * Starts the embedded nats-server in the background. With a million keys it reads its files for most of a second: `serve` loads the service's
 * code meanwhile.
 */
import type { Config } from "./config/config.js";
import type { EmbeddedEvents, EmbeddedLog, EmbeddedNats } from "./nats/embedded/embedded-nats.js";
import { startEmbedded } from "./nats/embedded/embedded-server.js";

export type EmbeddedConfig = Pick<
  Config,
  "dataDir" | "durability" | "natsServerBin" | "batchStagingDir" | "limits"
>;

export class EmbeddedStart {
  /** Resolves when the server is ready. Rejects with StartError; no process is left running then. */
  readonly ready: Promise<EmbeddedNats>;
  /** Resolves when the server's process has started, or the start has failed. */
  readonly launched: Promise<void>;
  /** Called when a write failed because the disk is full. */
  onFull: (() => void) | undefined;

  constructor(config: EmbeddedConfig, log: EmbeddedLog, events: Omit<EmbeddedEvents, "onFull"> = {}) {
    const { dataDir, durability, natsServerBin: serverBin, batchStagingDir: stagingDir, limits } = config;
    let reportLaunch: () => void = () => undefined;
    const launch = new Promise<void>((resolve) => (reportLaunch = resolve));
    this.ready = startEmbedded({
      ...{ dataDir, durability, serverBin, stagingDir, log },
      startTimeoutMs: limits.natsStartTimeoutMs,
      hungTimeoutMs: limits.natsHungTimeoutMs,
      ...events,
      onFull: () => this.onFull?.(),
      onLaunched: reportLaunch,
    });
    const settled = this.ready.then(
      () => undefined,
      () => undefined,
    );
    this.launched = Promise.race([launch, settled]);
  }

  /** Stops the server, once its start has ended. Idempotent. */
  async stop(): Promise<void> {
    const server = await this.ready.catch(() => undefined);
    await server?.stop();
  }
}
