/** grpc-java with stubs that protoc generates. Runs with EXTENDED=1, and where Maven can bring its artifacts. docs/clients.md has the table. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isExtendedFor } from "../support/extended.js";
import { startTestService, type TestService } from "../support/service.js";
import { API_KEY, createMatrixBucket, expectedLines, MISSING_KEY, UPPER_CASE_CODES } from "./client-lines.js";
import { bringGrpcJava, TOOL_MS_MAX } from "./toolchains.js";

const ROOT = join(import.meta.dirname, "../..");
const IMPORTS = ["proto", "third_party/googleapis"].flatMap((path) => ["-I", join(ROOT, path)]);
const PACKAGE = "ironflow/kv/v1";
const run = promisify(execFile);

describe.runIf(isExtendedFor("grpc-java", "it is compiled"))("grpc-java", { timeout: TOOL_MS_MAX }, () => {
  let service: TestService;
  let folder: string;
  /** Undefined: its artifacts cannot be had. */
  let classPath: string | undefined;
  beforeAll(async () => {
    service = await startTestService({ "api-key": API_KEY });
    folder = await mkdtemp(join(tmpdir(), "ironflow-grpc-java-"));
    const toolchain = await bringGrpcJava(folder);
    if (toolchain === undefined) return;
    const [stubs, classes] = [join(folder, "stubs"), join(folder, "classes")];
    await mkdir(stubs);
    const PATH = [toolchain.programs, process.env.PATH ?? ""].join(delimiter);
    const contract = (await readdir(join(ROOT, "proto", PACKAGE))).map((file) => `${PACKAGE}/${file}`);
    const outputs = [`--java_out=${stubs}`, `--grpc-java_out=${stubs}`];
    await run("protoc", [...IMPORTS, ...outputs, ...contract], { env: { ...process.env, PATH } });
    const client = join(import.meta.dirname, "grpc-java/Client.java");
    const options = ["-nowarn", "-cp", toolchain.classPath, "-sourcepath", stubs, "-d", classes];
    await run("javac", [...options, client], { timeout: TOOL_MS_MAX });
    classPath = [classes, toolchain.classPath].join(delimiter);
  }, TOOL_MS_MAX);
  afterAll(async () => {
    await service.remove();
    await rm(folder, { recursive: true, force: true });
  });

  it.for(["identity", "gzip"])("%s", async (encoding, { skip }) => {
    if (classPath === undefined) return skip("Maven is not installed, or its artifacts can't be downloaded.");
    const bucket = await createMatrixBucket(service);
    const args = [encoding, `127.0.0.1:${service.port}`, API_KEY, bucket, MISSING_KEY];
    const { stdout } = await run("java", ["-Dfile.encoding=UTF-8", "-cp", classPath, "Client", ...args]);
    expect(stdout.trim().split("\n")).toEqual(expectedLines(bucket, UPPER_CASE_CODES));
  });
});
