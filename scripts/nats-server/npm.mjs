/**
 * The last resort where there is neither Python nor Go: an older program from npm.
 *
 * It is a project of its own in `embedded/`, pinned by its lock file: the package supports one platform only, and asks for a newer Node
 * than it needs, so as an ordinary dependency it would break installs on other systems, and as an optional one npm skips it.
 */
import { accessSync, constants, readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.mjs";

const TIMEOUT_MS = 180_000;

/** Settings of the npm that runs us which would send the nested one elsewhere, or make it install nothing. */
const NOT_FOR_NESTED =
  /^npm_config_(global|location|prefix|dry_run|package_lock_only|workspaces?|include_workspace_root|omit|package_lock)$/i;

/** Installs the package where it is not installed. Resolves with the version of the program. */
export async function fromNpm({ directory, platform, env }) {
  const { package: name, program } = platform.npm;
  const version = presentVersion(directory, name, program);
  if (version !== undefined) return version;
  await npmCi(directory, env);
  const installed = presentVersion(directory, name, program);
  if (installed === undefined) throw new Error(`${name} has no ${program}`);
  return installed;
}

/** The version of the package, where it is the one that the lock file pins. */
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
  const environment = Object.entries(env).filter(([name]) => !NOT_FOR_NESTED.test(name));
  // Within npm, the same npm; within another package manager, or outside, the one on PATH.
  const within = env.npm_execpath ?? "";
  const npm = within.endsWith("npm-cli.js") ? [process.execPath, within] : ["npm"];
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
