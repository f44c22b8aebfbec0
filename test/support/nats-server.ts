/** A real nats-server for tests: file storage in a directory of its own, killed and restarted at will on the same port. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NATS_PROGRAM } from "./nats-program.js";
import { ended, spawn } from "./started.js";

export interface TestNatsServer {
  readonly url: string;
  readonly port: number;
  readonly directory: string;
  readonly pid: number;
  /** Ends it with a signal and waits until it is gone; the data stays. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data. No effect where it runs. */
  start(): Promise<void>;
  /** Ends it and removes its data. */
  remove(): Promise<void>;
}

export interface NatsServerOptions {
  /** Added to its configuration. */
  readonly config?: string;
  /** Default: false, for the speed of tests. */
  readonly syncAlways?: boolean;
  /** Whether it outlives the test file. Its starter then removes it. */
  readonly isShared?: boolean;
}

/** Starts a nats-server with JetStream. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<TestNatsServer> {
  const directory = await mkdtemp(join(tmpdir(), "ironflow-nats-"));
  const port = await freePort();
  const configFile = join(directory, "nats.conf");
  await writeFile(
    configFile,
    `listen: "127.0.0.1:${port}"
max_payload: 8MB
jetstream { store_dir: "${directory}/js", sync_interval: ${options.syncAlways ? "always" : "2m"} }
${options.config ?? ""}
`,
  );
  let child: ChildProcess | undefined;
  let isStopping = false;
  const server: TestNatsServer = {
    url: `nats://127.0.0.1:${port}`,
    port,
    directory,
    get pid() {
      return child?.pid ?? -1;
    },
    async start() {
      if (child !== undefined && child.exitCode === null && child.signalCode === null) return;
      isStopping = false;
      child = spawn(NATS_PROGRAM.program, ["-c", configFile], { stdio: ["ignore", "ignore", "pipe"] });
      if (options.isShared === true) {
        ended(child);
        reportEnd(child, () => isStopping);
      } else child.stderr?.resume();
      await untilAnswers(port, child);
    },
    async stop(signal = "SIGKILL") {
      isStopping = true;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    },
    async remove() {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

/** Says how a server that the files of a worker share ended by itself, with the end of what it logged. */
function reportEnd(child: ChildProcess, isExpected: () => boolean): void {
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => (log = (log + chunk.toString("latin1")).slice(-4_000)));
  child.once("close", (code, signal) => {
    if (isExpected()) return;
    console.error(`The shared nats-server ended by itself with ${code ?? signal ?? "nothing"}: ${log}`);
  });
}

/** Below the ports that the system gives to clients (32768 and up), so that no connection takes one between the look and its use. */
const PORTS_FROM = 10_000;
const PORTS_PER_WORKER = 2_000;
const WORKERS_MAX = 10;
/** Other runs on this machine begin elsewhere: a port stays free while what had it restarts. */
let portsUsed = Math.floor(Math.random() * PORTS_PER_WORKER);

/** A free port that no other worker of the tests is given. */
export async function freePort(): Promise<number> {
  const worker = Number(process.env.VITEST_POOL_ID ?? process.pid) % WORKERS_MAX;
  for (;;) {
    const port = PORTS_FROM + worker * PORTS_PER_WORKER + (portsUsed++ % PORTS_PER_WORKER);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

async function untilAnswers(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    const socket = connectSocket(port, "127.0.0.1");
    const answered = await Promise.race([
      once(socket, "data").then(() => true),
      // Also where the other end leaves without a word.
      once(socket, "close").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`nats-server ended with ${child.exitCode ?? child.signalCode}`);
}
