// Go programs of the benchmarks, built once from the module proxy and kept in node_modules/.cache.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { has } from "./processes.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CACHE = join(ROOT, "node_modules/.cache/bench");

/** Whether Go is there to build what is not. */
export function hasGo() {
  return spawnSync("go", ["version"]).status === 0;
}

/** etcd: the one on PATH, else built from bench/etcd/go.mod, which takes some minutes the first time. Undefined without both. */
export function etcdProgram() {
  if (has("etcd")) return "etcd";
  return hasGo() ? built("etcd", "go.etcd.io/etcd/server/v3") : undefined;
}

/** The load generator of bench/writes. Needs Go. */
export function writesProgram() {
  return built("writes", ".");
}

function built(folder, target) {
  const program = join(CACHE, process.platform === "win32" ? `${folder}.exe` : folder);
  const module = join(ROOT, "bench", folder);
  const sources = readdirSync(module).map((name) => join(module, name));
  const isFresh =
    existsSync(program) && sources.every((file) => statSync(file).mtimeMs <= statSync(program).mtimeMs);
  if (!isFresh) {
    console.log(`Building ${folder} with Go.`);
    mkdirSync(CACHE, { recursive: true });
    execFileSync("go", ["build", "-o", program, target], {
      cwd: module,
      env: { ...process.env, GOFLAGS: "", CGO_ENABLED: "0" },
      stdio: "inherit",
    });
  }
  return program;
}
