/**
 * connect-go and grpcurl as people have them, against one service. Runs with EXTENDED=1, and where Go and its modules are.
 * docs/clients.md has the table.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isExtendedFor } from "../support/extended.js";
import { startTestService, type TestService } from "../support/service.js";
import { succeeds } from "../support/until.js";
import { API_KEY, createMatrixBucket, expectedLines, MISSING, MISSING_KEY } from "./client-lines.js";

const ROOT = join(import.meta.dirname, "../..");
const GO_CLIENTS = join(import.meta.dirname, "go-clients");
const METHODS = "ironflow.kv.v1.KeyValueService";
const run = promisify(execFile);
/** Time to install a toolchain, or to compile. */
const TOOL_MS_MAX = 300_000;

let service: TestService;
let folder: string;
beforeAll(async () => {
  service = await startTestService({ "api-key": API_KEY });
  folder = await mkdtemp(join(tmpdir(), "ironflow-grpc-matrix-"));
});
afterAll(async () => {
  await service.remove();
  await rm(folder, { recursive: true, force: true });
});

describe.runIf(isExtendedFor("connect-go and grpcurl", "they are compiled"))(
  "Go",
  { timeout: TOOL_MS_MAX },
  () => {
    const missing = "Go is not installed, or its modules can't be downloaded.";
    let isBuilt = false;
    beforeAll(async () => {
      const options = { cwd: GO_CLIENTS, timeout: TOOL_MS_MAX };
      if (!(await succeeds(run("go", ["mod", "download"], options)))) return;
      await run("go", ["build", "-o", join(folder, "connect-go"), "."], options);
      const grpcurl = "github.com/fullstorydev/grpcurl/cmd/grpcurl";
      await run("go", ["build", "-o", join(folder, "grpcurl"), grpcurl], options);
      isBuilt = true;
    }, TOOL_MS_MAX);

    it.for(["connect", "connect-gzip", "grpc", "grpc-gzip", "grpc-web"])(
      "connect-go, %s",
      async (protocol, { skip }) => {
        if (!isBuilt) return skip(missing);
        const bucket = await createMatrixBucket(service);
        const args = [protocol, service.url, API_KEY, bucket];
        const { stdout } = await run(join(folder, "connect-go"), args);
        expect(stdout.trim().split("\n")).toEqual(
          expectedLines(bucket, {
            conflict: "already_exists",
            tooLarge: "resource_exhausted",
            unauthenticated: "unauthenticated",
          }),
        );
      },
    );

    it.for([
      ["by reflection", []],
      [
        "by the contract's files",
        [
          ...["-import-path", join(ROOT, "proto"), "-import-path", join(ROOT, "third_party/googleapis")],
          ...["-proto", "ironflow/kv/v1/key_value_service.proto"],
        ],
      ],
    ] as const)("grpcurl, %s", async ([, contract], { skip }) => {
      if (!isBuilt) return skip(missing);
      const bucket = await createMatrixBucket(service);
      const key = ["-H", `authorization: Bearer ${API_KEY}`];
      const address = `127.0.0.1:${service.port}`;
      const call = (method: string, request: object, ...options: string[]) =>
        run(join(folder, "grpcurl"), [
          ...["-plaintext", ...options, ...contract, "-d", JSON.stringify({ bucket, key: "k", ...request })],
          ...[address, `${METHODS}/${method}`],
        ]).then(
          ({ stdout }) => stdout,
          (error: unknown) => (error as { stderr: string }).stderr,
        );
      expect(await call("Put", { value: "QW5u" }, ...key)).toContain('"revision": "1"');
      expect(await call("Get", {}, ...key)).toContain('"value": "QW5u"');
      expect(await call("Put", { precondition: { ifAbsent: true } }, ...key)).toContain(
        "Code: AlreadyExists",
      );
      expect(await call("Get", { key: MISSING_KEY }, ...key)).toContain(`Message: ${MISSING} "${bucket}".`);
      // Reflection needs a key as well: it fails first then.
      expect(await call("Get", {})).toContain("Unauthenticated");
    });
  },
);
