// Compiles src/ and gen/ to dist/, and marks the command as a program. What was there stays until the new one is whole.
import { execFileSync } from "node:child_process";
import { chmodSync, renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const next = `${root}dist/.next-${process.pid}`;
const last = `${root}dist/.last-${process.pid}`;
const compiler = [
  `${root}node_modules/typescript/bin/tsc`,
  "-p",
  `${root}tsconfig.build.json`,
  "--outDir",
  next,
];
try {
  execFileSync(process.execPath, compiler, { stdio: "inherit" });
  chmodSync(`${next}/src/main.js`, 0o755);
  for (const part of ["src", "gen", "examples"]) {
    rmSync(last, { recursive: true, force: true });
    try {
      renameSync(`${root}dist/${part}`, last);
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    renameSync(`${next}/${part}`, `${root}dist/${part}`);
  }
} finally {
  rmSync(next, { recursive: true, force: true });
  rmSync(last, { recursive: true, force: true });
}
