/**
 * Installs an older version of the program from npm: the last resort without Python and Go.
 *
 * `embedded/` is a separate npm project with its own lock file. The package supports only one platform and requires a newer Node version
 * than it needs: as a dependency it would break installations on other systems, and npm skips it as an optional dependency.
 */
import { accessSync, constants, readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.mjs";

const TIMEOUT_MS = 180_000;

/** Settings of the outer npm that must not apply to the nested one: they change where or whether it installs. */
const OUTER_NPM_SETTINGS =
  /^npm_config_(global|location|prefix|dry_run|package_lock_only|workspaces?|include_workspace_root|omit|package_lock)$/i;

/** Installs the package unless it is installed. Resolves with the version of the program. */
export async function fromNpm({ directory, platform, env }) {
  const { package: name, program } = platform.npm;
  const version = presentVersion(directory, name, program);
  if (version !== undefined) return version;
  await npmCi(directory, env);
  const installed = presentVersion(directory, name, program);
  if (installed === undefined) throw new Error(`${name} has no ${program}`);
  return installed;
}

/** The installed version, if it is the one in the lock file. */
function presentVersion(directory, name, program) {
  const path = join("node_modules", name);
  try {
    accessSync(join(directory, path, program), constants.X_OK);
    const { version } = JSON.parse(readFileSync(join(directory, path, "package.json"), "utf8"));
    const lock = JSON.parse(readFileSync(join(directory, "package-lock.json"), "utf8"));
    return lock.packages[path.replaceAll("\\", "/")]?.version === version ? version : undefined;
  } catch {
    return undefined;
  }
}

async function npmCi(directory, env) {
  const environment = Object.entries(env).filter(([name]) => !OUTER_NPM_SETTINGS.test(name));
  // Use the npm that runs this script; under another package manager, or without one, the npm on PATH.
  const outer = env.npm_execpath ?? "";
  const npm = outer.endsWith("npm-cli.js") ? [process.execPath, outer] : ["npm"];
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
  await run([...npm, "ci", ...flags, ...quiet], {
    cwd: directory,
    env: Object.fromEntries(environment),
    timeoutMs: TIMEOUT_MS,
  });
}
