/** Clients that generators make of the OpenAPI document: each creates a bucket, writes, reads, is refused, lists and deletes. Runs with EXTENDED=1. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isExtendedFor } from "../support/extended.js";
import { freshName, startTestService, type TestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
const DOCUMENT = join(ROOT, "web/openapi.json");
const API_KEY = "the-key-of-generated-clients";
/** Time to install a generator, or to compile it. */
const TOOL_MS_MAX = 240_000;
const run = promisify(execFile);

/** The generator and what its code needs. */
const PYTHON_PACKAGES = ["openapi-python-client==0.29.1", "httpx==0.28.1"];

describe.runIf(isExtendedFor("clients generated from the OpenAPI document", "generators are installed"))(
  "a client generated from the OpenAPI document",
  () => {
    let service: TestService;
    let folder: string;
    beforeAll(async () => {
      service = await startTestService({ "api-key": API_KEY });
      folder = await mkdtemp(join(tmpdir(), "ironflow-openapi-"));
      await cp(join(import.meta.dirname, "openapi"), folder, { recursive: true });
      await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
    });
    afterAll(async () => {
      await service.remove();
      await rm(folder, { recursive: true, force: true });
    });

    const runIn = (command: string, args: readonly string[], env: Record<string, string> = {}) =>
      run(command, args, {
        cwd: folder,
        env: { ...process.env, ...env },
        timeout: TOOL_MS_MAX,
        maxBuffer: 64 << 20,
      });
    const shown = async (command: string, args: readonly string[], env: Record<string, string> = {}) => {
      const bucket = freshName();
      const { stdout } = await runIn(command, [...args, service.url, API_KEY, bucket], env);
      return { bucket, lines: stdout.trim().split("\n") };
    };
    /** What each client prints; languages print lists in forms of their own. */
    const expectAllCalls = (bucket: string, lines: readonly string[]): void => {
      expect(lines.map((line) => line.replace(/[[\]"' ]+/g, " ").trim())).toEqual([
        `created ${bucket}`,
        "revision 1",
        "value Ann",
        "refused 412 revision_mismatch",
        "keys a/b",
        "deleted 204",
      ]);
    };

    it("works in TypeScript: openapi-typescript and openapi-fetch", { timeout: TOOL_MS_MAX }, async () => {
      await runIn(join(ROOT, "node_modules/.bin/openapi-typescript"), [DOCUMENT, "--output", "api.d.ts"]);
      await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
      const options = [
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--types",
        "node",
        "--skipLibCheck",
      ];
      await runIn(join(ROOT, "node_modules/.bin/tsc"), [...options, "main.ts"]);
      const { bucket, lines } = await shown(process.execPath, ["main.js"]);
      expectAllCalls(bucket, lines);
    });

    it("works in Python: openapi-python-client", { timeout: TOOL_MS_MAX }, async ({ skip }) => {
      const packages = join(folder, "packages");
      const pip = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", packages];
      const isInstalled = await runIn("python3", [...pip, ...PYTHON_PACKAGES]).then(
        () => true,
        () => false,
      );
      if (!isInstalled)
        return skip(`${PYTHON_PACKAGES.join(" ")} could not be installed with python3 -m pip.`);
      const env = { PYTHONPATH: [packages, join(folder, "client")].join(":") };
      const generate = ["generate", "--path", DOCUMENT, "--output-path", join(folder, "client")];
      const { stderr } = await runIn("python3", ["-m", "openapi_python_client", ...generate], env);
      expect(stderr).not.toContain("Endpoint will not be generated");
      const { bucket, lines } = await shown("python3", ["main.py"], env);
      expectAllCalls(bucket, lines);
    });

    it("works in Go: oapi-codegen", { timeout: TOOL_MS_MAX }, async ({ skip }) => {
      const isDownloaded = await runIn("go", ["mod", "download"]).then(
        () => true,
        () => false,
      );
      if (!isDownloaded) return skip("Go is not installed, or its modules can't be downloaded.");
      await mkdir(join(folder, "api"));
      const { stdout } = await runIn("go", [
        "tool",
        "oapi-codegen",
        "-package",
        "api",
        "-generate",
        "types,client",
        DOCUMENT,
      ]);
      await writeFile(join(folder, "api/api.go"), stdout);
      const { bucket, lines } = await shown("go", ["run", "."]);
      expectAllCalls(bucket, lines);
    });
  },
);
