/** The disk that forgets what was not synced does as README.md says: what a cut takes, what it leaves, and how it fails. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { constants, type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { constants as osConstants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DiskModel, diskProblem, mountDisk, type PowerCutDisk } from "./disk.js";

const problem = await diskProblem();
if (problem !== undefined) console.log(`Skipped: the power-cut disk can't be mounted: ${problem}.`);

let directory: string;
let disk: PowerCutDisk;

async function mount(model: DiskModel): Promise<void> {
  directory = await mkdtemp(join(tmpdir(), "power-cut-"));
  disk = await mountDisk(directory, { model, size: 2 ** 20 });
}

afterEach(async () => {
  if (problem !== undefined) return;
  await disk.unmount();
  await rm(directory, { recursive: true });
});

const at = (name: string): string => join(directory, name);
const textOf = (name: string): string => readFileSync(at(name), "utf8");

async function using(name: string, flags: string | number, use: (file: FileHandle) => Promise<unknown>) {
  const file = await open(at(name), flags);
  await use(file).finally(() => file.close());
}

const syncDirectory = (name = "."): Promise<void> => using(name, "r", (file) => file.sync());

/** A file that is durable, with its name. */
async function store(name: string, text: string): Promise<void> {
  await using(name, "w", async (file) => {
    await file.write(text);
    await file.sync();
  });
  await syncDirectory(join(name, ".."));
}

describe.skipIf(problem !== undefined)(
  "the disk whose names are durable once their directory is synced",
  () => {
    beforeEach(() => mount("posix"));

    it("keeps synced contents and drops what was written after", async () => {
      await store("file", "synced");
      writeFileSync(at("file"), "more", { flag: "a" });
      writeFileSync(at("new"), "unsynced");
      expect([textOf("file"), textOf("new")]).toEqual(["syncedmore", "unsynced"]);
      expect(await disk.cut()).toEqual({ Files: 1, Bytes: 4, Names: 1 });
      expect(readdirSync(directory)).toEqual(["file"]);
      expect(textOf("file")).toBe("synced");
    });

    it("drops an overwrite, a truncation and a rewritten file", async () => {
      for (const name of ["overwritten", "truncated", "rewritten"]) await store(name, "0123456789");
      await using("overwritten", "r+", (file) => file.write("xx", 4));
      await using("truncated", "r+", (file) => file.truncate(3));
      writeFileSync(at("rewritten"), "short");
      await disk.cut();
      for (const name of ["overwritten", "truncated", "rewritten"]) expect(textOf(name)).toBe("0123456789");
    });

    it("keeps a truncation and what was written past it, once synced; the gap is zero", async () => {
      await store("file", "0123456789");
      await using("file", "r+", async (file) => {
        await file.truncate(2);
        await file.write("end", 6);
        await file.datasync();
      });
      await disk.cut();
      expect(textOf("file")).toBe("01\0\0\0\0end");
    });

    it("keeps what was written with O_SYNC and O_DSYNC", async () => {
      for (const [name, flag] of [
        ["sync", constants.O_SYNC],
        ["dsync", constants.O_DSYNC],
      ] as const) {
        await store(name, "");
        await using(name, constants.O_WRONLY | flag, (file) => file.write("text"));
      }
      await disk.cut();
      expect([textOf("sync"), textOf("dsync")]).toEqual(["text", "text"]);
    });

    it("drops a synced file whose name was not synced, and keeps a name whose file was not", async () => {
      await using("contents-only", "w", async (file) => {
        await file.write("text");
        await file.sync();
      });
      await disk.cut();
      expect(readdirSync(directory)).toEqual([]);
      writeFileSync(at("name-only"), "text");
      await syncDirectory();
      await disk.cut();
      expect(textOf("name-only")).toBe("");
    });

    it("undoes renames, also over a file, unlinks and directories that were not synced", async () => {
      await store("old", "old");
      await store("replacement", "new");
      await store("unlinked", "there");
      renameSync(at("replacement"), at("old"));
      rmSync(at("unlinked"));
      mkdirSync(at("directory"));
      expect(await disk.cut()).toMatchObject({ Files: 0, Names: 4 });
      expect(readdirSync(directory)).toEqual(["old", "replacement", "unlinked"]);
      expect([textOf("old"), textOf("replacement")]).toEqual(["old", "new"]);
    });

    it("keeps a rename between directories whole once one of them is synced", async () => {
      for (const name of ["from", "to"]) mkdirSync(at(name));
      await syncDirectory();
      await store("from/file", "text");
      renameSync(at("from/file"), at("to/file"));
      await syncDirectory("to");
      await disk.cut();
      expect([readdirSync(at("from")), readdirSync(at("to"))]).toEqual([[], ["file"]]);
    });

    it("refuses as stale what was open during a cut", async () => {
      await store("file", "text");
      const file = await open(at("file"), "r+");
      await disk.cut();
      await expect(file.write("more")).rejects.toMatchObject({ errno: -osConstants.errno.ESTALE });
      await file.close().catch(() => undefined);
      expect(textOf("file")).toBe("text");
    });

    it("fails syncs, and loses at a cut what a failed sync was to keep, also after a sync that succeeds", async () => {
      await store("file", "");
      await using("file", "r+", async (file) => {
        await file.write("text");
        await disk.failSyncs("EIO");
        await expect(file.sync()).rejects.toMatchObject({ code: "EIO" });
        expect(await disk.heal()).toMatchObject({ FailedSyncs: 1 });
        await file.sync();
      });
      expect(textOf("file")).toBe("text");
      await disk.cut();
      expect(textOf("file")).toBe("\0\0\0\0");
    });

    it("fails writes while the disk is broken, which says what is free as before", async () => {
      const free = statfsSync(directory).bavail;
      await disk.failWrites("EIO");
      expect(() => writeFileSync(at("new"), "")).toThrow("EIO");
      expect(statfsSync(directory).bavail).toBe(free);
    });

    it("fails writes and creations while the disk is full, and says that nothing is free", async () => {
      await store("file", "text");
      expect(statfsSync(directory).bavail).toBeGreaterThan(0);
      await disk.failWrites("ENOSPC");
      expect(() => writeFileSync(at("new"), "")).toThrow("ENOSPC");
      await using("file", "r+", async (file) => {
        await expect(file.write("more")).rejects.toMatchObject({ code: "ENOSPC" });
      });
      expect(statfsSync(directory).bavail).toBe(0);
      rmSync(at("file"));
      await disk.heal();
      writeFileSync(at("new"), "text");
      expect(textOf("new")).toBe("text");
    });
  },
);

describe.skipIf(problem !== undefined)(
  "the disk on which a sync covers the names that lead to what is synced",
  () => {
    beforeEach(() => mount("paths"));

    const names = (): unknown => readdirSync(directory, { recursive: true });

    it("keeps the path to a synced directory or file, and no other name", async () => {
      mkdirSync(at("outer/inner"), { recursive: true });
      mkdirSync(at("beside"));
      writeFileSync(at("outer/unsynced"), "");
      await using("outer/inner/file", "w", (file) => file.sync());
      await disk.cut();
      expect(names()).toEqual(["outer", "outer/inner", "outer/inner/file"]);
      renameSync(at("outer/inner"), at("outer/renamed"));
      await syncDirectory("outer/renamed");
      await disk.cut();
      expect(names()).toEqual(["outer", "outer/renamed", "outer/renamed/file"]);
    });

    it("undoes a rename over a synced file until the directory or the renamed file is synced", async () => {
      const replace = async (): Promise<void> => {
        await using("new", "w", async (file) => {
          await file.write("new");
          await file.sync();
        });
        renameSync(at("new"), at("file"));
      };
      await store("file", "old");
      await replace();
      await disk.cut();
      expect([names(), textOf("file")]).toEqual([["file", "new"], "old"]);
      await replace();
      await using("file", "r", (file) => file.sync());
      await disk.cut();
      expect([names(), textOf("file")]).toEqual([["file"], "new"]);
    });

    it("keeps a rename between directories whole", async () => {
      for (const name of ["from", "to"]) mkdirSync(at(name));
      await store("from/file", "text");
      renameSync(at("from/file"), at("to/file"));
      await using("to/file", "r", (file) => file.sync());
      await disk.cut();
      expect([readdirSync(at("from")), readdirSync(at("to"))]).toEqual([[], ["file"]]);
    });
  },
);

describe.skipIf(problem !== undefined)("the disk with a journal", () => {
  beforeEach(() => mount("journal"));

  it("keeps every name once anything is synced, and nothing before", async () => {
    mkdirSync(at("directory"));
    writeFileSync(at("directory/unsynced"), "text");
    await using("synced", "w", async (file) => {
      await file.write("text");
      await file.sync();
    });
    writeFileSync(at("later"), "");
    await disk.cut();
    expect(readdirSync(directory)).toEqual(["directory", "synced"]);
    expect([textOf("directory/unsynced"), textOf("synced")]).toEqual(["", "text"]);
  });
});
