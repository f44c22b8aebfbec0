import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pid as ownPid } from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DataDirLock, lockDataDir } from "../../src/nats/embedded/data-dir-lock.js";
import { StartError } from "../../src/nats/client/start-error.js";
import { killParent, startParent } from "./parent-process.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-lock-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

describe("the lock of a data directory", () => {
  it("refuses a second owner with the directory and the first one's pid, until the first releases it", async () => {
    const dataDir = join(scratch, "deep", "data");
    const lock = await lockDataDir(dataDir);
    await expect(lockDataDir(dataDir)).rejects.toThrow(
      `The data directory ${JSON.stringify(dataDir)} is in use by the service with PID ${ownPid}; stop it, or set DATA_DIR to another directory.`,
    );
    await lock.release();
    await (await lockDataDir(dataDir)).release();
  });

  it("names the pid of another process, and is gone when that is killed", async () => {
    const dataDir = join(scratch, "killed");
    const parent = await startParent(dataDir);
    await expect(lockDataDir(dataDir)).rejects.toThrow(`PID ${parent.pid};`);
    await killParent(parent);
    await (await lockDataDir(dataDir)).release();
  });

  it("has one winner, however many come at once, whether or not a dead owner was there before", async () => {
    const dataDir = join(scratch, "crowd");
    for (let round = 0; round < 25; round++) {
      const results = await Promise.allSettled(Array.from({ length: 12 }, () => lockDataDir(dataDir)));
      const winners = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      const losers = results.flatMap((result) =>
        result.status === "rejected" ? [String(result.reason)] : [],
      );
      expect(winners).toHaveLength(1);
      expect(losers.filter((reason) => !reason.includes("is in use"))).toEqual([]);
      await Promise.all(winners.map((winner: DataDirLock) => winner.release()));
      expect(await readdir(dataDir)).toHaveLength(1);
    }
  });

  it.each([
    ["a file", "file"],
    ["inside a file", "file/data"],
    ["inside a device", "/dev/null/data"],
  ])("says so when the directory is %s", async (_, name) => {
    await writeFile(join(scratch, "file"), "");
    const dataDir = name.startsWith("/") ? name : join(scratch, name);
    const failure = await lockDataDir(dataDir).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StartError);
    expect((failure as Error).message).toContain(
      `The data directory ${JSON.stringify(dataDir)} can't be used: `,
    );
    expect((failure as Error).message).toContain("Set DATA_DIR");
  });

  it("leaves the permissions of a directory that is there as they are", async () => {
    const dataDir = join(scratch, "shared");
    await mkdir(dataDir);
    await chmod(dataDir, 0o755);
    await (await lockDataDir(dataDir)).release();
    expect((await readdir(scratch)).includes("shared")).toBe(true);
  });
});
