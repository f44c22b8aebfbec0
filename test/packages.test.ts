/**
 * What a user installs: the packages as `npm pack` creates them from a clean checkout, used by npm, pnpm and yarn. Runs with EXTENDED=1: it takes
 * a minute of CPU time.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { promisify } from "node:util";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IS_EXTENDED } from "./support/extended.js";
import { NATS_PROGRAM } from "./support/nats-program.js";
import { startTestService, type TestService } from "./support/service.js";
import { spawn } from "./support/started.js";

const ROOT = join(import.meta.dirname, "..");
const run = promisify(execFile);
/** Not part of a clean checkout. */
const GENERATED = new Set(["node_modules", "dist", "data", "coverage", ".git", "bin"]);
const PACKAGES = ["ironflow-kv", "@ironflow-kv/client", "@ironflow-kv/http2"] as const;
type PackageName = (typeof PACKAGES)[number];

const hasRegistry =
  IS_EXTENDED &&
  (await run("npm", ["view", "@bufbuild/protobuf", "version"], { timeout: 20_000 }).then(
    () => true,
    () => false,
  ));
if (IS_EXTENDED && !hasRegistry)
  console.log("Skipped the tests of installed packages: the npm registry can't be reached.");

/** For a hang; packing builds everything first. */
const PACK_TIMEOUT_MS = 400_000;

let folder: string;
let service: TestService;
const tarballs = new Map<PackageName, string>();

beforeAll(async () => {
  if (!IS_EXTENDED) return;
  folder = await mkdtemp(join(tmpdir(), "ironflow-packages-"));
  const checkout = await cleanCheckout(join(folder, "checkout"));
  for (const workspace of [[], ["--workspace", "packages/client"], ["--workspace", "packages/http2"]]) {
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder, ...workspace], {
      cwd: checkout,
    });
    const [packed] = JSON.parse(stdout.slice(stdout.indexOf("["))) as {
      name: PackageName;
      filename: string;
    }[];
    if (packed === undefined) throw new Error(`npm pack made nothing: ${stdout}`);
    tarballs.set(packed.name, join(folder, packed.filename.replace("@", "").replace("/", "-")));
  }
  service = await startTestService();
}, PACK_TIMEOUT_MS);
afterAll(async () => {
  if (!IS_EXTENDED) return;
  await service.remove();
  await rm(folder, { recursive: true, force: true });
});

/** A copy of the sources with the installed dependencies, and without anything built. */
async function cleanCheckout(to: string): Promise<string> {
  await cp(ROOT, to, {
    recursive: true,
    filter: (source) => !GENERATED.has(basename(source)) || relative(ROOT, source).startsWith("proto"),
  });
  const modules = join(to, "node_modules");
  await mkdir(join(modules, "@ironflow-kv"), { recursive: true });
  for (const name of await readdir(join(ROOT, "node_modules"))) {
    if (name !== "@ironflow-kv") await symlink(join(ROOT, "node_modules", name), join(modules, name));
  }
  for (const name of ["client", "http2"])
    await symlink(join(to, "packages", name), join(modules, "@ironflow-kv", name));
  return to;
}

function tarballOf(name: PackageName): string {
  const tarball = tarballs.get(name);
  if (tarball === undefined) throw new Error(`${name} was not packed`);
  return tarball;
}

/** An application of its own, with nothing installed. */
async function newApplication(name: string): Promise<string> {
  const application = join(folder, name);
  await mkdir(application, { recursive: true });
  await writeFile(
    join(application, "package.json"),
    JSON.stringify({ name: "application", version: "1.0.0", type: "module", private: true }),
  );
  return application;
}

const USE = `
import { createClient } from "@ironflow-kv/client";
import { KeyValueService } from "@ironflow-kv/client/gen";
const kv = createClient({ serverUrl: process.argv[2] }).kv();
const name = process.argv[3];
await kv.createBucket({ name });
await kv.bucket(name).put("k", "packed");
console.log(KeyValueService.typeName, (await kv.bucket(name).get("k")).text());
`;

describe.runIf(IS_EXTENDED).each(PACKAGES)("%s as packed", (name) => {
  it("has nothing that publint objects to", async () => {
    const bytes = await readFile(tarballOf(name));
    const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const { messages } = await publint({ pack: { tarball }, level: "warning" });
    expect(messages).toEqual([]);
  });

  it("has types that resolve", async () => {
    const attw = join(ROOT, "node_modules/@arethetypeswrong/cli/dist/index.js");
    await run(process.execPath, [attw, tarballOf(name), "--profile", "esm-only", "--format", "ascii"]);
  });
});

describe.runIf(hasRegistry)("the SDK, installed alone", () => {
  it.each([
    ["npm", ["npm", "install", "--no-audit", "--no-fund", "--engine-strict"]],
    ["pnpm", ["npx", "--yes", "pnpm@9.8.0", "add", "--engine-strict"]],
    ["yarn", ["npx", "--yes", "yarn@1.22.22", "add", "--no-lockfile"]],
  ])("by %s brings at most 5 packages, no warning, and works", async (manager, [program = "", ...args]) => {
    const application = await newApplication(`by-${manager}`);
    const { stderr } = await run(program, [...args, tarballOf("@ironflow-kv/client")], { cwd: application });
    expect(stderr).not.toMatch(/EBADENGINE|engine/i);
    await writeFile(join(application, "use.js"), USE);
    const { stdout } = await run(process.execPath, ["use.js", service.url, `by-${manager}`], {
      cwd: application,
    });
    expect(stdout).toBe("ironflow.kv.v1.KeyValueService packed\n");
    if (manager !== "npm") return;
    const { stdout: installed } = await run("npm", ["ls", "--all", "--parseable"], { cwd: application });
    // The first line is the application itself.
    expect(installed.trim().split("\n").length - 1).toBeLessThanOrEqual(5);
  });

  it("type-checks in an application", async () => {
    const application = join(folder, "by-npm");
    await writeFile(
      join(application, "use.ts"),
      USE.replaceAll("process.argv", "(globalThis as never as { argv: string[] }).argv"),
    );
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const options = [
      "--noEmit",
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--lib",
      "es2024,dom,dom.iterable",
    ];
    await run(process.execPath, [tsc, ...options, "use.ts"], { cwd: application });
  });
});

describe.runIf(hasRegistry)("the service, installed by npm", () => {
  it("shows no engine warning on this Node, and serves", async () => {
    const application = await newApplication("service");
    const flags = ["--no-audit", "--no-fund", "--engine-strict", "--ignore-scripts"];
    const { stderr } = await run("npm", ["install", ...flags, tarballOf("ironflow-kv")], {
      cwd: application,
    });
    expect(stderr).not.toContain("EBADENGINE");
    const program = join(application, "node_modules/.bin/ironflow-kv");
    const child = spawn(process.execPath, [program, "serve", "--port", "0"], {
      cwd: application,
      env: { ...process.env, NATS_SERVER_BIN: NATS_PROGRAM.program },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    for await (const chunk of child.stdout) {
      said += String(chunk);
      if (said.includes("is ready")) break;
    }
    const url = /"url":"([^"]+)"/.exec(said)?.[1] ?? "";
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect((await fetch(`${url}/docs`)).status).toBe(200);
    expect((await fetch(`${url}/console`)).status).toBe(200);
    child.kill("SIGTERM");
    await once(child, "exit");
  });
});
