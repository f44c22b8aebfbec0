/** What the embedded server does otherwise on Windows, as far as another system can show it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pid as ownPid } from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DataDirLock, lockDataDir, windowsPipePath } from "../../src/nats/embedded/data-dir-lock.js";
import { untilReady } from "../../src/nats/embedded/readiness-check.js";
import { freePort, newCredentials, writeConfig } from "../../src/nats/embedded/server-config.js";
import { spawnServer } from "../../src/nats/embedded/server-process.js";
import { NATS_PROGRAM } from "../support/nats-program.js";
import { childrenOf, isAlive } from "./processes.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-windows-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

describe("the lock of a data directory on Windows", () => {
  it("is a pipe that has one name for a directory, however its path is written", () => {
    const path = windowsPipePath("C:\\Users\\ann\\data");
    expect(path).toMatch(/^\\\\\.\\pipe\\ironflow-kv-[0-9a-f]{64}$/);
    expect(windowsPipePath("c:\\users\\Ann\\DATA")).toBe(path);
    expect(windowsPipePath("C:\\Users\\ann\\data2")).not.toBe(path);
  });

  // Linux has such names too, beginning with NUL: each has one owner, and vanishes with it.
  const pipePathOf = (directory: string): string => `\0${windowsPipePath(directory)}`;

  it.runIf(process.platform === "linux")(
    "refuses a second owner with the first one's pid, until it lets go",
    async () => {
      const dataDir = join(scratch, "locked");
      const lock = await lockDataDir(dataDir, pipePathOf);
      await expect(lockDataDir(dataDir, pipePathOf)).rejects.toThrow(
        `is in use by the service with PID ${ownPid}; stop it`,
      );
      await lock.release();
      await (await lockDataDir(dataDir, pipePathOf)).release();
    },
  );

  it.runIf(process.platform === "linux")("has one winner, however many come at once", async () => {
    const dataDir = join(scratch, "crowd");
    for (let round = 0; round < 25; round++) {
      const tries = Array.from({ length: 12 }, () => lockDataDir(dataDir, pipePathOf));
      const results = await Promise.allSettled(tries);
      const winners = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      expect(winners).toHaveLength(1);
      await Promise.all(winners.map((winner: DataDirLock) => winner.release()));
    }
  });
});

describe("the server's process on Windows", () => {
  it("is our own child, without a shell, answers, and ends when it is stopped", async () => {
    const directory = join(scratch, "data");
    await (await lockDataDir(directory)).release();
    const configFile = join(directory, "nats-server.conf");
    const credentials = newCredentials();
    const port = await freePort();
    await writeConfig(configFile, port, credentials, "safe");
    const options = { configFile, pidFile: join(directory, "unused"), directory, onLine: () => undefined };
    const server = spawnServer({ ...options, program: NATS_PROGRAM.program }, "win32");
    const { serverVersion } = await untilReady(port, credentials, true, AbortSignal.timeout(30_000));
    expect(serverVersion).toBe(NATS_PROGRAM.version);
    expect(await childrenOf(ownPid)).toContain(server.pid);
    await server.stop();
    expect(await isAlive(server.pid)).toBe(false);
    await server.exited;
  });

  it("says which program can't be started", () => {
    const program = join(scratch, "nats-server.exe");
    const options = { configFile: "c", pidFile: "p", directory: scratch, onLine: () => undefined };
    expect(() => spawnServer({ ...options, program }, "win32")).toThrow(
      `can't be started in ${JSON.stringify(scratch)}: ${program} or the directory is missing.`,
    );
  });
});
