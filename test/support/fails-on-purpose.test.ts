/** Leaves running what it started. Only `started.test.ts` runs it, in a Vitest of its own. */
import { writeFile } from "node:fs/promises";
import { kill, pid } from "node:process";
import { it } from "vitest";
import { startNatsServer } from "./nats-server.js";
import { startTestService } from "./service.js";

const { FAILS_ON_PURPOSE: how, FAILS_ON_PURPOSE_REPORT: report = "" } = process.env;

it.runIf(how !== undefined)("fails", async () => {
  const [server, service] = [await startNatsServer(), await startTestService()];
  await writeFile(report, JSON.stringify([server.directory, service.dataDir]));
  if (how === "killed") kill(pid, "SIGKILL");
  throw new Error("on purpose");
});
