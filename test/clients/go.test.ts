/** The Go client, clients/go: its own tests against a real service, and its generated code. Runs with EXTENDED=1, and where Go and its modules are. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { isExtendedFor } from "../support/extended.js";
import { startTestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
const MODULE = join(ROOT, "clients/go");
const run = promisify(execFile);
/** Time to download the modules where that was not done yet. */
const DOWNLOAD_MS_MAX = 120_000;
/** Time to compile gRPC and the tests. */
const TEST_MS_MAX = 480_000;

const isExtended = isExtendedFor("the tests of the Go client", "it is compiled");
const problem = isExtended ? await problemOfToolchain() : undefined;
if (problem !== undefined) console.log(`The tests of the Go client are skipped: ${problem}.`);

describe.runIf(isExtended && problem === undefined)("the Go client", () => {
  it("passes its own tests against a service", { timeout: TEST_MS_MAX }, async () => {
    const service = await startTestService();
    const env = { ...process.env, IRONFLOW_SERVER: service.url, IRONFLOW_API_KEY: "" };
    const { stdout } = await run("go", ["test", "-count=1", "-v", "."], {
      cwd: MODULE,
      env,
      timeout: TEST_MS_MAX,
    });
    expect(stdout).toMatch(/^--- PASS: TestWatchResumesWithoutGapsAndDuplicates/m);
    expect(stdout).not.toMatch(/^--- SKIP/m);
    await service.remove();
  });

  it("has the stubs that the contract generates", { timeout: TEST_MS_MAX }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "ironflow-go-"));
    const buf = join(ROOT, "node_modules/.bin/buf");
    const args = ["generate", "--template", "clients/go/buf.gen.yaml", "-o", folder];
    await run(buf, args, { cwd: ROOT, timeout: TEST_MS_MAX });
    expect(await contentsOf(join(folder, "clients/go/gen"))).toEqual(await contentsOf(join(MODULE, "gen")));
    await rm(folder, { recursive: true, force: true });
  });
});

async function problemOfToolchain(): Promise<string | undefined> {
  try {
    await run("go", ["mod", "download"], { cwd: MODULE, timeout: DOWNLOAD_MS_MAX });
    return undefined;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return isMissing ? "Go is not installed" : "its modules can't be downloaded";
  }
}

async function contentsOf(folder: string): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  for (const file of await readdir(folder, { recursive: true })) {
    if (file.endsWith(".go")) contents.set(file, await readFile(join(folder, file), "utf8"));
  }
  return contents;
}
