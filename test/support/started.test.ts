/** A test that fails, or whose worker is killed, leaves no process running. Runs with EXTENDED=1, as it starts Vitest. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { processesNaming } from "../nats/processes.js";
import { until } from "./until.js";
import { IS_EXTENDED } from "./extended.js";

const ROOT = join(import.meta.dirname, "../..");

it.runIf(IS_EXTENDED).each(["fails", "killed"])(
  "a test that starts a nats-server and a service leaves neither: %s",
  async (how) => {
    const folder = await mkdtemp(join(tmpdir(), "ironflow-started-"));
    const report = join(folder, "report.json");
    const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
    const run = promisify(execFile)(
      process.execPath,
      [vitest, "run", "test/support/fails-on-purpose.test.ts", "--maxWorkers=1"],
      { cwd: ROOT, env: { ...process.env, FAILS_ON_PURPOSE: how, FAILS_ON_PURPOSE_REPORT: report } },
    );
    await expect(run).rejects.toMatchObject({ code: 1 });
    const directories = JSON.parse(await readFile(report, "utf8")) as string[];
    expect(directories).toHaveLength(2);
    for (const directory of directories) {
      await until(
        "no process uses the directory",
        async () => (await processesNaming(directory)).length === 0,
      );
      await rm(directory, { recursive: true });
    }
    await rm(folder, { recursive: true });
  },
);
