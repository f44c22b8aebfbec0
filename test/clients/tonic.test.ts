/** tonic with stubs that tonic-prost-build generates. Runs with EXTENDED=1, and where Cargo can bring its crates. docs/clients.md has the table. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isExtendedFor } from "../support/extended.js";
import { startTestService, type TestService } from "../support/service.js";
import { succeeds } from "../support/until.js";
import { API_KEY, createMatrixBucket, expectedLines, MISSING_KEY } from "./client-lines.js";
import { TOOL_MS_MAX } from "./toolchains.js";

const CHECKOUT = join(import.meta.dirname, "../..");
const CODES = {
  conflict: "AlreadyExists",
  tooLarge: "ResourceExhausted",
  unauthenticated: "Unauthenticated",
  deadline: "DeadlineExceeded",
};
/** Time to compile on a busy machine. */
const BUILD_MS_MAX = 500_000;
const run = promisify(execFile);

describe.runIf(isExtendedFor("tonic", "it is compiled"))("tonic", { timeout: TOOL_MS_MAX }, () => {
  let service: TestService;
  let folder: string;
  let isBuilt = false;
  beforeAll(async () => {
    service = await startTestService({ "api-key": API_KEY });
    folder = await mkdtemp(join(tmpdir(), "ironflow-tonic-"));
    await cp(join(import.meta.dirname, "tonic"), folder, { recursive: true });
    const options = { cwd: folder, env: { ...process.env, CHECKOUT }, timeout: TOOL_MS_MAX };
    if (!(await succeeds(run("cargo", ["fetch", "--locked", "--quiet"], options)))) return;
    await run("cargo", ["build", "--locked", "--offline", "--quiet"], { ...options, timeout: BUILD_MS_MAX });
    isBuilt = true;
  }, TOOL_MS_MAX + BUILD_MS_MAX);
  afterAll(async () => {
    await service.remove();
    await rm(folder, { recursive: true, force: true });
  });

  it.for(["identity", "gzip"])("%s", async (encoding, { skip }) => {
    if (!isBuilt) return skip("Cargo is not installed, or its crates can't be downloaded.");
    const bucket = await createMatrixBucket(service);
    const args = [encoding, service.url, API_KEY, bucket, MISSING_KEY];
    const { stdout } = await run(join(folder, "target/debug/tonic-client"), args, { timeout: TOOL_MS_MAX });
    expect(stdout.trim().split("\n")).toEqual(expectedLines(bucket, CODES));
  });
});
