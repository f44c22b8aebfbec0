/** One service whose JetStream store is on a disk that loses power. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Deployment, deploy, natsServerOf, stateOf } from "../deployment.js";
import { type DiskOptions, type Dropped, mountDisk, type PowerCutDisk } from "./disk.js";
import { until } from "../../support/until.js";

const run = promisify(execFile);
const MEMORY = "/dev/shm";

export class CuttableService {
  private constructor(
    private readonly dataDir: string,
    /** A power cut loses it. */
    private readonly memory: string,
    private readonly disk: PowerCutDisk,
    private readonly service: Deployment,
  ) {}

  static async start(options: DiskOptions, settings: Record<string, string> = {}): Promise<CuttableService> {
    const dataDir = await mkdtemp(join(tmpdir(), "ironflow-cuts-"));
    const memory = await mkdtemp(join(MEMORY, "ironflow-cuts-"));
    const disk = await mountDisk(join(dataDir, "jetstream"), options);
    try {
      const { NATS_SERVER_BIN: program } = process.env;
      const environment = program === undefined ? {} : { NATS_SERVER_BIN: program };
      return new CuttableService(
        dataDir,
        memory,
        disk,
        await deploy({ DATA_DIR: dataDir, BATCH_STAGING_DIR: memory, ...environment, ...settings }),
      );
    } catch (error) {
      await disk.unmount();
      for (const folder of [dataDir, memory]) await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get url(): string {
    return this.service.url;
  }

  /** Such as `2.15.1`. */
  async serverVersion(): Promise<string> {
    const { stdout } = await run(`/proc/${this.server()}/exe`, ["--version"]);
    return /v(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? stdout;
  }

  /** Cuts the power: nothing that was not synced is left, and no process. */
  async cut(): Promise<Dropped> {
    const pids = [this.service.pid, this.server()];
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    await until("the processes are stopped", () => pids.every((pid) => stateOf(pid) === "T"));
    const dropped = await this.disk.cut();
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await this.service.kill();
    await rm(this.memory, { recursive: true, force: true });
    await mkdir(this.memory);
    return dropped;
  }

  /** Starts it after a cut; resolves when it is ready. */
  async restart(): Promise<void> {
    this.service.start();
    await this.service.ready();
  }

  async remove(): Promise<void> {
    // Where a cut failed half-way they are stopped, and would not see a SIGTERM.
    const server = natsServerOf(this.service.pid);
    if (server !== undefined) process.kill(server, "SIGKILL");
    await this.service.kill();
    await this.service.remove();
    await this.disk.unmount();
    for (const folder of [this.dataDir, this.memory]) await rm(folder, { recursive: true, force: true });
  }

  private server(): number {
    const pid = natsServerOf(this.service.pid);
    if (pid === undefined) throw new Error("the service runs no nats-server");
    return pid;
  }
}
