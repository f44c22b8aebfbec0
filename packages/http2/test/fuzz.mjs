// npm run fuzz -w packages/http2 -- --minutes 5 --seed 7: runs the fuzzers of fuzz.test.ts. A seed gives the same cases each time.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "1" }, seed: { type: "string", default: "1" } },
});
const { minutes, seed } = values;
if (!/^\d+(\.\d+)?$/.test(minutes) || Number(minutes) === 0 || !/^\d{1,6}$/.test(seed)) {
  console.error(
    `--minutes ${minutes} --seed ${seed}: minutes must be a positive number, the seed a whole number.`,
  );
  process.exit(2);
}
const root = fileURLToPath(new URL("../../..", import.meta.url));
const { status } = spawnSync(
  process.execPath,
  [
    `${root}node_modules/vitest/vitest.mjs`,
    "run",
    "packages/http2/test/fuzz.test.ts",
    "--disable-console-intercept",
  ],
  { cwd: root, stdio: "inherit", env: { ...process.env, FUZZ_MINUTES: minutes, FUZZ_SEED: seed } },
);
process.exitCode = status ?? 1;
