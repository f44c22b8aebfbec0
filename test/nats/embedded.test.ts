import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { kill, getActiveResourcesInfo, pid as ownPid } from "node:process";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import type { NatsConnection } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connectNats } from "../../src/nats/client/connect.js";
import { lockDataDir } from "../../src/nats/embedded/data-dir-lock.js";
import type { EmbeddedNats, EmbeddedOptions } from "../../src/nats/embedded/embedded-nats.js";
import { startEmbedded } from "../../src/nats/embedded/embedded-server.js";
import { StartError } from "../../src/nats/client/start-error.js";
import { NATS_PROGRAM } from "../support/nats-program.js";
import { killParent, startParent } from "./parent-process.js";
import { childrenOf, isAlive, listeningAddresses, processesNaming, untilGone } from "./processes.js";
import { IS_EXTENDED } from "../support/extended.js";

const STARTS = IS_EXTENDED ? 20 : 8;

let scratch: string;
const cleanUp: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-embedded-"));
});
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

let lastDirectory = 0;
function newDirectory(): string {
  return join(scratch, `data-${++lastDirectory}`);
}

async function start(dataDir: string, options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedNats> {
  const server = await startEmbedded({ dataDir, durability: "safe", ...options });
  cleanUp.push(() => server.stop());
  return server;
}

async function connectTo(server: { url: string; user: string; pass: string }): Promise<NatsConnection> {
  const { connection } = await connectNats({ servers: server.url, user: server.user, pass: server.pass });
  cleanUp.push(() => connection.close());
  return connection;
}

async function write(connection: NatsConnection, text: string): Promise<void> {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "notes", subjects: ["notes"] });
  await jetstream(connection).publish("notes", text);
}

async function readBack(connection: NatsConnection): Promise<string | undefined> {
  const manager = await jetstreamManager(connection);
  return (await manager.streams.getMessage("notes", { last_by_subj: "notes" }))?.string();
}

/** A program in the place of nats-server. */
async function fakeProgram(script: string): Promise<string> {
  const file = join(scratch, `program-${++lastDirectory}`);
  await writeFile(
    file,
    `#!/bin/sh\n[ "$1" = --version ] && { echo "nats-server: v2.14.0"; exit; }\n${script}\n`,
  );
  await chmod(file, 0o755);
  return file;
}

describe("a server of our own", () => {
  it("answers JetStream on loopback alone, to our credentials alone, which no command line shows", async () => {
    const server = await start(newDirectory());
    const connection = await connectTo(server);
    await write(connection, "hello");
    expect(await readBack(connection)).toBe("hello");

    const port = Number(new URL(server.url).port).toString(16).toUpperCase().padStart(4, "0");
    expect(await listeningAddresses(server.pid)).toEqual([`0100007F:${port}`]);
    for (const pid of [server.pid, ...(await childrenOf(server.pid))]) {
      const seen =
        (await readFile(`/proc/${pid}/cmdline`, "utf8")) + (await readFile(`/proc/${pid}/environ`, "utf8"));
      expect(seen).not.toContain(server.pass);
    }
    expect((await stat(join(server.directory, "nats-server.conf"))).mode & 0o777).toBe(0o600);
    expect((await stat(server.directory)).mode & 0o777).toBe(0o700);
    await expect(connectNats({ servers: server.url, readyTimeoutMs: 0 })).rejects.toThrow(
      "rejects the credentials",
    );
    expect(server.serverVersion).toMatch(/^2\.\d+\.\d+/);
  });

  it("keeps its data from one start to the next", async () => {
    const dataDir = newDirectory();
    const first = await start(dataDir);
    await write(await connectTo(first), "kept");
    await first.stop();
    const second = await start(dataDir);
    expect(await readBack(await connectTo(second))).toBe("kept");
    expect(await readdir(dataDir)).toContain("jetstream");
  });

  it("is started again after a kill -9, with its port, credentials and data, and the client finds it", async () => {
    const server = await start(newDirectory());
    const connection = await connectTo(server);
    await write(connection, "kept");
    const { url, pid } = server;
    for (let round = 0; round < 2; round++) {
      const back = untilStatus(connection, "reconnect");
      kill(server.pid, "SIGKILL");
      await back;
      expect(await readBack(connection)).toBe("kept");
    }
    expect(server.url).toBe(url);
    expect(server.pid).not.toBe(pid);
  });

  it("is ended and started again when it hangs, and the client finds it", async () => {
    const server = await start(newDirectory(), { hungTimeoutMs: 1_000 });
    const connection = await connectTo(server);
    await write(connection, "kept");
    const { pid } = server;
    const back = untilStatus(connection, "reconnect");
    kill(pid, "SIGSTOP");
    await back;
    expect(await readBack(connection)).toBe("kept");
    expect(server.pid).not.toBe(pid);
    expect(await isAlive(pid)).toBe(false);
  });

  it(`leaves no process, handle or timer behind, ${STARTS} times over`, async () => {
    const dataDir = newDirectory();
    await (await startEmbedded({ dataDir, durability: "safe" })).stop();
    const handles = await openHandles();
    for (let round = 0; round < STARTS; round++) {
      const server = await startEmbedded({ dataDir, durability: "safe" });
      await server.stop();
      expect(await isAlive(server.pid)).toBe(false);
    }
    const after = await openHandles();
    expect(after.files).toBeLessThanOrEqual(handles.files);
    expect(after.resources.length).toBeLessThanOrEqual(handles.resources.length);
    expect(await processesNaming(dataDir)).toEqual([]);
    expect((await readdir(dataDir)).filter((name) => name !== "jetstream")).toHaveLength(1);
  });

  it("stops while it is being started again", async () => {
    const server = await start(newDirectory());
    kill(server.pid, "SIGKILL");
    await Promise.all([server.stop(), server.stop()]);
    expect(await processesNaming(server.directory)).toEqual([]);
  });

  it.each([
    ["spaces and quotes", `a "b" 'c' \\d`],
    ["dollars, braces and a hash", "$HOME {x} #y `z`"],
    ["other scripts", "données-データ"],
    ["a path longer than a socket's may be", join("d".repeat(100), "e".repeat(100))],
  ])("works in a directory named with %s", async (_, name) => {
    const dataDir = join(scratch, name);
    const server = await start(dataDir);
    await write(await connectTo(server), "hello");
    await expect(lockDataDir(dataDir)).rejects.toThrow("is in use");
  });

  it("takes a relative path, and a symbolic link to the same directory for the same", async () => {
    const dataDir = newDirectory();
    const server = await start(relative(".", dataDir));
    expect(server.directory).toBe(await realpath(dataDir));
    await symlink(dataDir, `${dataDir}-link`);
    await expect(startEmbedded({ dataDir: `${dataDir}-link`, durability: "safe" })).rejects.toThrow(
      "is in use",
    );
  });
});

describe("a server whose service is killed", () => {
  it("ends with it, after a kill -9", async () => {
    const parent = await startParent(newDirectory());
    const watchers = await childrenOf(parent.serverPid);
    expect(watchers).toHaveLength(1);
    await killParent(parent);
    await untilGone(parent.serverPid);
    await Promise.all(watchers.map(untilGone));
  });

  it("does not hear a Ctrl-C in the service's terminal", async () => {
    const parent = await startParent(newDirectory());
    kill(-parent.pid, "SIGINT");
    const connection = await connectTo(parent);
    await write(connection, "still here");
    await connection.close();
    await killParent(parent);
    await untilGone(parent.serverPid);
  });

  it("is ended by the next service where its watcher was killed too, and its data is kept", async () => {
    const dataDir = newDirectory();
    const parent = await startParent(dataDir);
    const connection = await connectTo(parent);
    await write(connection, "kept");
    await connection.close();
    for (const watcher of await childrenOf(parent.serverPid)) kill(watcher, "SIGKILL");
    await killParent(parent);
    expect(await isAlive(parent.serverPid)).toBe(true);

    const warnings: string[] = [];
    const log = {
      info: () => undefined,
      error: () => undefined,
      warn: (line: string) => warnings.push(line),
    };
    const next = await start(dataDir, { log });
    expect(await isAlive(parent.serverPid)).toBe(false);
    expect(warnings).toContain(
      `Stopped a nats-server (PID ${parent.serverPid}) that an earlier service left running.`,
    );
    expect(await readBack(await connectTo(next))).toBe("kept");
  });

  it("is not mistaken for another process that has its pid now", async () => {
    const dataDir = newDirectory();
    await mkdir(dataDir);
    await writeFile(join(dataDir, "nats-server.pid"), `${ownPid}\n`);
    await start(dataDir);
  });
});

describe("a server that can't be started", () => {
  it("is said to end, with its last words, and releases the directory", async () => {
    const dataDir = newDirectory();
    const serverBin = await fakeProgram('echo "[1] [FTL] no such thing" >&2; exit 3');
    const failure = await startEmbedded({ dataDir, durability: "safe", serverBin }).catch(
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(StartError);
    expect((failure as Error).message).toBe("The nats-server program ended with exit code 3: no such thing.");
    await start(dataDir);
  });

  it("is refused where it does not sync each write, though it was told to", async () => {
    const serverBin = await fakeProgram(
      `sed 's/sync_interval: always/sync_interval: "2m"/' "$2" > "$2.lazy"; exec ${NATS_PROGRAM.program} -c "$2.lazy"`,
    );
    await expect(start(newDirectory(), { serverBin })).rejects.toThrow("does not sync each write to disk");
    await start(newDirectory(), { serverBin, durability: "relaxed" });
  });

  it("is abandoned, with the reason, when it can't be restarted", async () => {
    const serverBin = await fakeProgram(
      `[ -e started ] && { echo "the disk is gone" >&2; exit 1; }; touch started; exec ${NATS_PROGRAM.program} "$@"`,
    );
    const failures = [
      failureAfter({ serverBin }, () => Promise.resolve()),
      failureAfter({}, ({ directory }) => rm(directory, { recursive: true })),
    ];
    expect(await Promise.all(failures)).toEqual([
      "The embedded nats-server can't be restarted. The nats-server program ended with exit code 1: the disk is gone.",
      expect.stringContaining("/bin/sh or the directory is missing."),
    ]);
  });
});

/** Starts a server, does something to it, kills it, and resolves with the reason why it was given up. */
function failureAfter(
  options: Partial<EmbeddedOptions>,
  action: (server: EmbeddedNats) => Promise<void>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    start(newDirectory(), { ...options, onFatal: ({ message }) => resolve(message) })
      .then(async (server) => {
        await action(server);
        kill(server.pid, "SIGKILL");
      })
      .catch(reject);
  });
}

function untilStatus(connection: NatsConnection, type: string): Promise<void> {
  return (async () => {
    for await (const status of connection.status()) if (status.type === type) return;
  })();
}

/** Open files and what keeps the event loop going, by type. */
async function openHandles(): Promise<{ files: number; resources: string[] }> {
  const files = (await readdir("/proc/self/fd")).length;
  return {
    files,
    resources: getActiveResourcesInfo()
      .filter((type) => !type.startsWith("FSReq"))
      .sort(),
  };
}
