/** One nats-server process, which never outlives this process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { env } from "node:process";
import { createInterface } from "node:readline";
import { StartError } from "../client/start-error.js";

/**
 * A shell script that starts a guard as its child and then execs the program. The guard reads from a pipe whose other end only this
 * process holds. When this process ends, in whatever way, the guard reads the end of the pipe and ends the program, which does not inherit
 * the pipe. The program is the guard's parent, so the guard checks its parent PID before it sends a signal: the PID can't have been reused.
 * (Without /proc, it checks only that the PID exists.)
 */
const GUARD = `
unset IRONFLOW_API_KEY
server=$$
echo "$server" > "$1"; shift
alive() {
  if [ -r /proc/self/stat ]; then read -r _ _ _ parent _ < /proc/self/stat; [ "$parent" = "$server" ]
  else kill -0 "$server" 2>/dev/null; fi
}
(
  trap '' HUP INT TERM
  while read -r _; do :; done
  alive && kill -TERM "$server"
  for _ in 1 2 3 4 5; do alive || exit 0; sleep 1; done
  alive && kill -KILL "$server"
) <&3 3<&- >/dev/null 2>&1 &
exec "$@" 3<&-
`;

const SHELL = "/bin/sh";
/** The log lines that are kept, to report why the process ended. */
const LAST_LINES_MAX = 20;
/** How long the process may take to stop before it is killed. */
const STOP_TIMEOUT_MS = 10_000;

export interface ServerProcess {
  readonly pid: number;
  /** Resolves when the process has ended, with a description such as "exit code 1". */
  readonly exited: Promise<string>;
  /** The last error in its log; empty if there was none. */
  lastProblem(): string;
  /** Stops the process, by SIGKILL after 10 seconds. Resolves when it and its guard have ended. */
  stop(): Promise<void>;
  /** Sends SIGKILL. */
  kill(): void;
}

export interface ServerProcessOptions {
  readonly program: string;
  readonly configFile: string;
  /** The file for the server's PID. Not written on Windows. */
  readonly pidFile: string;
  readonly directory: string;
  /** Called with each line of its log. */
  onLine(line: string): void;
}

/** Starts the process. A Ctrl-C in the terminal does not reach it. Throws StartError. `os` is for tests. */
export function spawnServer(options: ServerProcessOptions, os = process.platform): ServerProcess {
  const child = os === "win32" ? spawnOnWindows(options) : spawnGuarded(options);
  const { pid } = child;
  if (pid === undefined) {
    child.once("error", () => undefined);
    throw new StartError(
      `The embedded nats-server can't be started in ${JSON.stringify(options.directory)}: ${child.spawnfile} or the directory is missing.`,
    );
  }
  const lines: string[] = [];
  const keep = (line: string): void => {
    lines.push(line);
    if (lines.length > LAST_LINES_MAX) lines.shift();
  };
  if (child.stderr !== null) {
    createInterface({ input: child.stderr }).on("line", (line) => {
      keep(line);
      options.onLine(line);
    });
  }
  const guardPipe = child.stdio[3] as Socket | undefined;
  guardPipe?.on("error", () => undefined).resume();
  const exited = exitOf(child);
  // The guard ends with the pipe. "close" is emitted when it has ended too, and the log was read completely.
  const closed = once(child, "close");
  void exited.then(() => guardPipe?.end());
  return {
    pid,
    exited: exited.then(async (how) => {
      await closed;
      return how;
    }),
    lastProblem: () => problemIn(lines),
    stop: async () => {
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await closed;
      clearTimeout(force);
    },
    kill: () => void child.kill("SIGKILL"),
  };
}

/** Starts the process in a new session, with the guard. */
function spawnGuarded(options: ServerProcessOptions): ChildProcess {
  const command = [
    "-c",
    GUARD,
    "nats-server-guard",
    options.pidFile,
    options.program,
    "-c",
    options.configFile,
  ];
  return spawn(SHELL, command, {
    cwd: options.directory,
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
}

/**
 * Windows ends the process together with this one: libuv puts each child that is not detached into a job object that ends with its owner
 * (libuv src/win/process.c). So no guard and no PID file are needed. `windowsHide` gives it a separate console, so it does not receive
 * Ctrl-C. Windows has no signals: stopping it kills it, which loses no acknowledged write.
 */
function spawnOnWindows(options: ServerProcessOptions): ChildProcess {
  const environment = Object.fromEntries(Object.entries(env).filter(([name]) => name !== "IRONFLOW_API_KEY"));
  return spawn(options.program, ["-c", options.configFile], {
    cwd: options.directory,
    env: environment,
    windowsHide: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
}

/** The last line that reports an error, or is not a log line, without its prefix. */
function problemIn(lines: readonly string[]): string {
  const line = lines.findLast((one) => /^\[\d+\] \[(FTL|ERR)\] |^[^[]/.test(one)) ?? "";
  return line.replace(/^\[\d+\] \[\w+\] /, "").replace(/\.$/, "");
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `exit code ${code ?? "?"}` : `signal ${signal}`),
    );
  });
}
