// npm run test:fuzz -- [cases] [seed]: runs the fuzzer for so many cases. The same seed gives the same cases.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const [cases = "200000", seed = "1"] = process.argv.slice(2);
if (![cases, seed].every((text) => /^\d{1,9}$/.test(text))) {
  console.error("It takes two whole numbers: how many cases, and a seed.");
  process.exit(2);
}
const root = fileURLToPath(new URL("../..", import.meta.url));
const { status } = spawnSync(
  process.execPath,
  [
    `${root}node_modules/vitest/vitest.mjs`,
    "run",
    "test/hostile/fuzz.test.ts",
    "--disable-console-intercept",
  ],
  { cwd: root, stdio: "inherit", env: { ...process.env, FUZZ_CASES: cases, FUZZ_SEED: seed } },
);
process.exitCode = status ?? 1;
