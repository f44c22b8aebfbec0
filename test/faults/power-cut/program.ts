/** Builds the file system of this folder, once for each state of its sources; says why where that can't be done. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { constants, existsSync } from "node:fs";
import { access, mkdir, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const SOURCES = import.meta.dirname;
const CACHE = join(SOURCES, "../../../node_modules/.cache/power-cut");
const BUILD_TIMEOUT_MS = 300_000;
const run = promisify(execFile);

export type Program = { readonly path: string } | { readonly problem: string };

/** The program, or one sentence that says what is missing here. */
export async function powerCutProgram(): Promise<Program> {
  if (process.platform !== "linux") return { problem: `FUSE is needed, and this is ${process.platform}` };
  if (process.getuid?.() !== 0) return { problem: "only root may mount a file system" };
  const canMount = await access("/dev/fuse", constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!canMount) return { problem: "there is no /dev/fuse that can be opened" };
  const path = join(CACHE, await digestOfSources());
  if (existsSync(path)) return { path };
  await mkdir(CACHE, { recursive: true });
  const built = `${path}.${process.pid}`;
  try {
    await run("go", ["build", "-buildvcs=false", "-o", built, "."], {
      cwd: SOURCES,
      env: { ...process.env, GOFLAGS: "", CGO_ENABLED: "0" },
      timeout: BUILD_TIMEOUT_MS,
    });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") return { problem: "Go is needed to build the file system (https://go.dev)" };
    // Without the module proxy nothing can be built; a mistake in the sources must not hide behind that.
    if (/dial tcp|lookup .* no such host|i\/o timeout|proxyconnect/.test(stderr ?? ""))
      return { problem: "the Go modules of the file system can't be downloaded" };
    throw new Error(`the file system can't be built: ${stderr ?? String(error)}`, { cause: error });
  }
  await rename(built, path);
  return { path };
}

async function digestOfSources(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(SOURCES)).filter((one) => /\.go$|^go\./.test(one)).sort())
    hash.update(name).update(await readFile(join(SOURCES, name)));
  return hash.digest("hex").slice(0, 16);
}
