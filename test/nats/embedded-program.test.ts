import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram, installedPaths, type ServerProgram } from "../../src/nats/embedded/server-program.js";
import { NATS_PROGRAM } from "../support/nats-program.js";

const EMBEDDED = join(import.meta.dirname, "../../embedded");

let scratch: string;
let lastFolder = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-program-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** A program that says it is nats-server of that version. */
async function writeProgram(file: string, version: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\necho "nats-server: v${version}"\n`, { mode: 0o755 });
}

interface Machine {
  readonly os?: NodeJS.Platform;
  readonly cpu?: string;
  /** Versions of the programs that are there. */
  readonly installed?: string;
  readonly fallback?: string;
  readonly onPath?: string;
  /** The version that Go builds. */
  readonly go?: string;
}

/** What the last installation said. */
let said: string[] = [];

/** Finds a program on a machine that has these; `where` is its place. */
async function findOn({ os = "linux", cpu = "x64", ...has }: Machine): Promise<ServerProgram> {
  const folder = join(scratch, String(++lastFolder));
  const directory = join(folder, "embedded");
  await mkdir(join(folder, "path"), { recursive: true });
  for (const file of ["platforms.json", "package.json", "package-lock.json"])
    await cp(join(EMBEDDED, file), join(directory, file));
  const paths = installedPaths(directory, os, cpu);
  if (has.installed !== undefined) await writeProgram(paths.installed, has.installed);
  if (has.fallback !== undefined) await writeProgram(paths.fallback ?? "", has.fallback);
  if (has.onPath !== undefined) await writeProgram(join(folder, "path/nats-server"), has.onPath);
  if (has.go !== undefined) {
    const script = `printf '#!/bin/sh\\necho nats-server: v${has.go}\\n' > "$GOBIN/nats-server"`;
    await writeFile(join(folder, "path/go"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  said = [];
  const onInstall = (sentence: string): void => void said.push(sentence);
  return findProgram({ directory, os, cpu, env: { PATH: join(folder, "path") }, onInstall });
}

describe("the nats-server program", () => {
  it("is the installed one, unless one is named", async () => {
    const { installed } = installedPaths(EMBEDDED, process.platform, process.arch);
    const found = await findProgram();
    if (found.source === "installed") expect(found.program).toBe(installed);
    const { program, version } = NATS_PROGRAM;
    const serverBin = relative(".", program);
    expect(await findProgram({ serverBin })).toEqual({ program, version, source: "setting" });
  });

  it("is installed where there is none, and one line says where it comes from", async () => {
    expect(await findOn({ go: "2.15.3" })).toMatchObject({ source: "installed", version: "2.15.3" });
    expect(said).toEqual([
      "Installing the nats-server program. This happens only once.",
      "nats-server 2.15.3 installed from its source, built with Go.",
    ]);
  });

  const RELIABLE = "2.15.1";
  it.each<[string, Machine, Partial<ServerProgram>]>([
    ["the installed one first", { installed: RELIABLE, onPath: "2.16.0" }, { source: "installed" }],
    [
      "the one on PATH before the old one of npm",
      { fallback: "2.14.0", onPath: RELIABLE },
      { source: "path" },
    ],
    [
      "the old one of npm before an old one on PATH",
      { fallback: "2.14.0", onPath: "2.14.3" },
      { source: "fallback" },
    ],
    ["one on PATH where none is installed", { onPath: "2.15.3" }, { source: "path", version: "2.15.3" }],
    [
      "the installed one on macOS",
      { os: "darwin", cpu: "arm64", installed: RELIABLE },
      { source: "installed" },
    ],
    ["the installed one on Windows", { os: "win32", installed: RELIABLE }, { source: "installed" }],
    ["one on PATH on Windows", { os: "win32", cpu: "arm64", onPath: RELIABLE }, { source: "path" }],
  ])("is %s", async (_, machine, expected) => {
    expect(await findOn(machine)).toMatchObject(expected);
  });

  it.each<[string, string, string]>([
    ["linux", "x64", "bin/nats-server"],
    ["darwin", "x64", "bin/nats-server"],
    ["win32", "x64", "bin/nats-server.exe"],
    ["win32", "arm64", "bin/nats-server.exe"],
  ])("is installed on %s-%s as %s", (os, cpu, file) => {
    const { installed, fallback } = installedPaths(EMBEDDED, os, cpu);
    expect(relative(EMBEDDED, installed)).toBe(file);
    expect(fallback !== undefined).toBe(os === "linux");
  });

  it.each<[string, Machine, string]>([
    [
      "nothing is there",
      {},
      "No nats-server program was found. nats-server can't be installed (uv: not installed;",
    ],
    [
      "the one on PATH is old",
      { onPath: "2.14.3" },
      "No nats-server program was found. The nats-server on PATH is 2.14.3.",
    ],
  ])("is asked for where %s", async (_, machine, sentence) => {
    await expect(findOn({ os: "win32", ...machine })).rejects.toThrow(sentence);
    await expect(findOn({ os: "win32", ...machine })).rejects.toThrow(
      "put nats-server 2.15.1 or newer on PATH, set NATS_SERVER_BIN to its path, or set NATS_URL",
    );
  });

  it.each([
    ["missing", "/no/such/program", "is not an executable nats-server program"],
    ["something else", "/bin/true", "is not an executable nats-server program"],
    ["not on PATH", "no-such-program", "is not an executable nats-server program"],
  ])("is refused when the one named is %s", async (_, serverBin, sentence) => {
    await expect(findProgram({ serverBin })).rejects.toThrow(sentence);
  });

  it.each([
    ["2.13.9", "is nats-server 2.13.9; it must be 2.14.0 or newer"],
    ["2.14.0-beta.2", "is nats-server 2.14.0-beta.2; it must be 2.14.0 or newer"],
  ])("is refused when the one named is too old: %s", async (version, sentence) => {
    const serverBin = join(scratch, `program-${version}`);
    await writeProgram(serverBin, version);
    await expect(findProgram({ serverBin })).rejects.toThrow(sentence);
  });

  it("is taken when the one named is old but supported", async () => {
    const serverBin = join(scratch, "supported");
    await writeProgram(serverBin, "2.14.0");
    expect(await findProgram({ serverBin })).toMatchObject({ source: "setting", version: "2.14.0" });
  });
});
