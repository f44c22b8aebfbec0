/** One run of a nats-server program, which never outlives this process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { env } from "node:process";
import { createInterface } from "node:readline";
import { StartError } from "../client/start-error.js";

/**
 * Becomes the program, with a watcher as its child: the watcher reads from a pipe whose other end only we hold, so it sees the end of
 * the pipe when we are gone, in whatever way, and then ends the program. The program does not get the pipe. It is the watcher's
 * parent, so as long as it lives the watcher's parent is still that pid; that makes sure that no other process with the same
 * number is hit. (Where there is no /proc, the pid alone must do.)
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
/** Lines of its log that are kept, to say why it ended. */
const LAST_LINES_MAX = 20;
/** Milliseconds for it to end by itself before it is killed. */
const STOP_TIMEOUT_MS = 10_000;

export interface ServerProcess {
  readonly pid: number;
  /** Resolves with how it ended, such as "exit code 1". */
  readonly exited: Promise<string>;
  /** The last problem it wrote to its log; empty when there was none. */
  lastProblem(): string;
  /** Ends it, by force after a while; resolves when nothing of it is left. */
  stop(): Promise<void>;
  /** Ends it by force. */
  kill(): void;
}

export interface ServerProcessOptions {
  readonly program: string;
  readonly configFile: string;
  /** Gets the server's pid, but on Windows. */
  readonly pidFile: string;
  readonly directory: string;
  /** Gets each line of its log. */
  onLine(line: string): void;
}

/** Starts it so that a Ctrl-C in the terminal reaches us alone. Throws StartError. `os` is for tests. */
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
  // The watcher goes when the pipe ends; "close" comes when it is gone too, and the log is read.
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

/** In a session of its own, under the watcher. */
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
 * Windows ends it with us, in whatever way we end: libuv puts each child that is not detached into a job object that is closed with its
 * owner (libuv src/win/process.c), so nothing is ever left over and no pid file is needed. `windowsHide` gives it a console of its own, so
 * it does not get our Ctrl-C. It has no signals there: to stop it is to kill it, which loses nothing that it acknowledged.
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

/** The last line that is no ordinary word of the log, without what stands before its text. */
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
