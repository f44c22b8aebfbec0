/** Finds the nats-server program to embed, and installs it if there is none. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, posix, win32 } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import {
  isReliable,
  isSupported,
  OLDEST_SERVER_VERSION,
  RELIABLE_SERVER_VERSION,
} from "../client/server-version.js";
import { StartError } from "../client/start-error.js";

export interface ServerProgram {
  /** A path, or the bare name of a program on PATH. */
  readonly program: string;
  /** Such as `2.15.1`. */
  readonly version: string;
  /** `fallback`: the old version of the npm package. */
  readonly source: "setting" | "installed" | "path" | "fallback";
}

export interface ProgramOptions {
  /** NATS_SERVER_BIN. */
  readonly serverBin?: string | undefined;
  /** Called before an installation, which takes seconds, and after it, with what was installed and from where. */
  readonly onInstall?: ((sentence: string) => void) | undefined;
  /** Where the installer puts the program. Default: `embedded/` in the package. */
  readonly directory?: string | undefined;
  /** Default: this machine's. */
  readonly os?: NodeJS.Platform | undefined;
  readonly cpu?: string | undefined;
  /** The environment, for PATH. Default: this process's. */
  readonly env?: Environment;
}

/** The exports of `scripts/install-nats-server.mjs`. */
interface Installer {
  /** Installs the program; rejects with an Error of one sentence. */
  installNatsServer(options: {
    directory: string;
    os: string;
    cpu: string;
    env: Environment;
  }): Promise<object>;
  sentenceOf(installed: object): string;
}

/** Undefined: this process's. */
type Environment = Readonly<Record<string, string | undefined>> | undefined;

const NAME_ON_PATH = "nats-server";
const VERSION_TIMEOUT_MS = 5_000;
const run = promisify(execFile);

/**
 * Finds the program, in this order: NATS_SERVER_BIN (an error if it is not usable); the one in `embedded/`; a reliable version on PATH; the
 * npm package. If there is none of these, installs it. Throws StartError.
 */
export async function findProgram(options: ProgramOptions = {}): Promise<ServerProgram> {
  const { serverBin, os = process.platform, cpu = process.arch, env } = options;
  const directory = options.directory ?? join(packageRoot(), "embedded");
  if (serverBin !== undefined) return namedProgram(serverBin, os, env);
  const { installed, fallback } = installedPaths(directory, os, cpu);
  const findInstalled = (): Promise<ServerProgram | undefined> => supported(installed, "installed", env);
  const findFallback = (): Promise<ServerProgram | undefined> =>
    fallback === undefined ? Promise.resolve(undefined) : supported(fallback, "fallback", env);

  const present = await findInstalled();
  if (present !== undefined) return present;
  const onPath = await versionOf(NAME_ON_PATH, env);
  if (onPath !== undefined && isReliable(onPath))
    return { program: NAME_ON_PATH, version: onPath, source: "path" };
  const old = await findFallback();
  if (old !== undefined) return old;
  let reason = onPath === undefined ? "" : ` The nats-server on PATH is ${onPath}.`;
  try {
    options.onInstall?.("Installing the nats-server program. This happens only once.");
    options.onInstall?.(await install({ directory, os, cpu, env }));
    const found = (await findInstalled()) ?? (await findFallback());
    if (found !== undefined) return found;
  } catch (error) {
    reason += ` ${error instanceof Error ? error.message : String(error)}`;
  }
  throw new StartError(
    `No nats-server program was found.${reason} Install Python with pip, uv or Go and start again; or put nats-server ` +
      `${RELIABLE_SERVER_VERSION} or newer on PATH, set NATS_SERVER_BIN to its path, or set NATS_URL to use a running NATS server.`,
  );
}

/** The paths of the installed program and of the old version that npm installs; undefined if npm has none for the platform. */
export function installedPaths(
  directory: string,
  os: string,
  cpu: string,
): { readonly installed: string; readonly fallback: string | undefined } {
  const { platforms } = JSON.parse(readFileSync(join(directory, "platforms.json"), "utf8")) as {
    platforms: Readonly<Record<string, { npm?: { package: string; program: string } } | undefined>>;
  };
  const npm = platforms[`${os}-${cpu}`]?.npm;
  return {
    installed: join(directory, "bin", os === "win32" ? "nats-server.exe" : "nats-server"),
    fallback: npm === undefined ? undefined : join(directory, "node_modules", npm.package, npm.program),
  };
}

/** The directory of our package.json: above `src` in the sources, above `dist` when built. */
function packageRoot(): string {
  for (let directory = import.meta.dirname; ; directory = dirname(directory)) {
    const file = join(directory, "package.json");
    if (existsSync(file)) {
      const { name } = JSON.parse(readFileSync(file, "utf8")) as { name?: unknown };
      if (name === "ironflow-kv") return directory;
    }
    if (directory === dirname(directory)) throw new Error("the package.json of ironflow-kv is missing");
  }
}

async function namedProgram(serverBin: string, os: string, env: Environment): Promise<ServerProgram> {
  // The server runs in the data directory, so resolve a relative path here. A bare name is looked up on PATH.
  const path = os === "win32" ? win32 : posix;
  const program = path.basename(serverBin) === serverBin ? serverBin : path.resolve(serverBin);
  const version = await versionOf(program, env);
  const setting = `NATS_SERVER_BIN is ${JSON.stringify(serverBin)}, which`;
  if (version === undefined) throw new StartError(`${setting} is not an executable nats-server program.`);
  if (!isSupported(version)) {
    throw new StartError(
      `${setting} is nats-server ${version}; it must be ${OLDEST_SERVER_VERSION} or newer.`,
    );
  }
  return { program, version, source: "setting" };
}

async function supported(
  program: string,
  source: ServerProgram["source"],
  env: Environment,
): Promise<ServerProgram | undefined> {
  const version = await versionOf(program, env);
  return version !== undefined && isSupported(version) ? { program, version, source } : undefined;
}

/** The version that a nats-server program reports; undefined if it can't be run or is another program. */
async function versionOf(program: string, env: Environment): Promise<string | undefined> {
  try {
    const { stdout } = await run(program, ["--version"], {
      env,
      timeout: VERSION_TIMEOUT_MS,
      windowsHide: true,
    });
    return /^nats-server: v?(\d+\.\d+\S*)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/** Resolves with one line that says what was installed. */
async function install(options: Parameters<Installer["installNatsServer"]>[0]): Promise<string> {
  const script = pathToFileURL(join(packageRoot(), "scripts", "install-nats-server.mjs"));
  const installer = (await import(script.href)) as Installer;
  return installer.sentenceOf(await installer.installNatsServer(options));
}
