/** The embedded nats-server as the process that runs it knows it. */

/** What it reports. */
export interface EmbeddedEvents {
  /** Called when the process was started; it is not ready yet. Also after each restart. */
  readonly onLaunched?: (() => void) | undefined;
  /** Called when the server reports a full disk, before it is restarted. */
  readonly onFull?: (() => void) | undefined;
  /** Called when `EmbeddedNats.problem` changes. */
  readonly onProblem?: ((problem: string | undefined) => void) | undefined;
  /** Called at most once, if the server has ended and can't be restarted. */
  readonly onFatal?: ((error: Error) => void) | undefined;
}

/** Receives one line per event. A pino logger is one. */
export interface EmbeddedLog {
  info(line: string): void;
  warn(line: string): void;
  error(line: string): void;
}

export interface EmbeddedOptions extends EmbeddedEvents {
  /** Created if it does not exist. Only one service can use it at a time. */
  readonly dataDir: string;
  /** `safe`: an acknowledged write is on disk. `relaxed`: it is on disk within a second. Both survive a crash of the server. */
  readonly durability: "safe" | "relaxed";
  /** Where batches of writes are staged in memory: see `stagingFolderOf`. */
  readonly stagingDir?: string | undefined;
  /** The nats-server program. Default: see `findProgram`. */
  readonly serverBin?: string | undefined;
  /** How long the server may take to be ready after its start, in milliseconds. Default: an hour. */
  readonly startTimeoutMs?: number | undefined;
  /** The server is restarted after it has been unresponsive for this long, in milliseconds. Default: 30,000. */
  readonly hungTimeoutMs?: number | undefined;
  /** Default: no log. */
  readonly log?: EmbeddedLog | undefined;
}

export interface EmbeddedNats {
  /** `nats://127.0.0.1:<port>`. Constant while the service runs, like the credentials. */
  readonly url: string;
  readonly user: string;
  readonly pass: string;
  /** The data directory, absolute. */
  readonly directory: string;
  /** The PID of the current process. */
  readonly pid: number;
  readonly serverVersion: string;
  /** Why writes are refused: a write or sync failed, and the server waits for the disk. Undefined: writes are accepted. */
  readonly problem: string | undefined;
  /** Stops the server and unlocks the data directory. Resolves when both are done. Idempotent. */
  stop(): Promise<void>;
}
