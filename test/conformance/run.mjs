/**
 * Runs the Connect conformance suite (https://github.com/connectrpc/conformance) against the service's listener, once with the fast path
 * on and once with it off. It needs Go to build the suite's runner, which is kept in node_modules/.cache; where Go is missing it says so and
 * ends well. Arguments are passed on to the runner, such as `-v`, or `--run` and a pattern.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const VERSION = "v1.0.7";
const MODULE = "connectrpc.com/conformance";
const ROOT = join(import.meta.dirname, "../..");
const CACHE = join(ROOT, "node_modules/.cache/connect-conformance", VERSION);
const RUNNER = join(CACHE, process.platform === "win32" ? "connectconformance.exe" : "connectconformance");
const DESCRIPTORS = join(CACHE, "conformance.binpb");
const COMPILED = join(CACHE, "compiled");

if (spawnSync("go", ["version"]).status !== 0) {
  console.log("Skipped: the Connect conformance suite needs Go (https://go.dev) to build its runner.");
  process.exit(0);
}
try {
  prepare();
} catch (error) {
  console.error(
    `The suite's runner could not be built; it comes from the Go module ${MODULE}. ${error.message}`,
  );
  process.exit(1);
}
compile();
const results = [];
for (const mode of ["fast", "stock"]) results.push(await run(mode));
const isGood = results.every((result) => result.isGood);
for (const { mode, summary } of results)
  console.log(`fast path ${mode === "fast" ? "on" : "off"}: ${summary}`);
process.exit(isGood ? 0 : 1);

/** Builds the runner and the suite's descriptors where they are not there yet. */
function prepare() {
  mkdirSync(CACHE, { recursive: true });
  if (!existsSync(RUNNER)) {
    console.log(`Building ${MODULE} ${VERSION}; this takes a few minutes the first time.`);
    execFileSync("go", ["install", `${MODULE}/cmd/connectconformance@${VERSION}`], {
      env: { ...process.env, GOBIN: CACHE, GOFLAGS: "" },
      stdio: "inherit",
    });
  }
  if (!existsSync(DESCRIPTORS)) {
    const { Dir } = JSON.parse(
      execFileSync("go", ["mod", "download", "-json", `${MODULE}@${VERSION}`], { encoding: "utf8" }),
    );
    execFileSync("npx", ["--no-install", "buf", "build", join(Dir, "proto"), "-o", DESCRIPTORS], {
      cwd: ROOT,
      stdio: "inherit",
    });
  }
}

/** Compiles the service apart from dist/, which others may be using; its types are checked elsewhere. */
function compile() {
  mkdirSync(COMPILED, { recursive: true });
  writeFileSync(join(COMPILED, "package.json"), '{"type":"module"}\n');
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const options = ["-p", "tsconfig.build.json", "--outDir", COMPILED, "--noCheck", "--declaration", "false"];
  execFileSync(process.execPath, [compiler, ...options], { cwd: ROOT, stdio: "inherit" });
}

async function run(mode) {
  const server = [process.execPath, join(import.meta.dirname, "server.mjs"), DESCRIPTORS, mode, COMPILED];
  const options = ["--mode", "server", "--conf", join(import.meta.dirname, "config.yaml")];
  const child = spawn(RUNNER, [...options, ...process.argv.slice(2), "--", ...server], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const collect = (chunk) => (output += chunk);
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const code = await new Promise((resolve) => child.on("close", resolve));
  const total = /^Total cases: \d+$/m.exec(output)?.[0];
  const counts = /^\d+ passed, \d+ failed.*$/m.exec(output)?.[0];
  const late = answersReadTooLate(output);
  const isGood = (code === 0 || late > 0) && total !== undefined && counts !== undefined;
  if (!isGood) console.log(output);
  const taken = { unary: 0, streaming: 0 };
  for (const [, unary, streaming] of output.matchAll(/^fast path: (\d+) unary, (\d+) streaming$/gm)) {
    taken.unary += Number(unary);
    taken.streaming += Number(streaming);
  }
  const counted = `${taken.unary} unary and ${taken.streaming} streaming calls took the fast path`;
  const notes =
    late > 0 && isGood ? `, ${late} of them because the runner's client stopped reading at its deadline` : "";
  const summary = `${total ?? "no total"}; ${counts ?? `the runner ended with code ${code}`}${notes}; ${counted}`;
  return { mode, isGood, summary };
}

/**
 * How many cases failed, if all did for a race of the runner's own; otherwise 0.
 *
 * In the unary cases of "Timeouts" client and server have the same deadline. The runner's client may receive the head of the answer just before
 * it and stop reading at it. The result of the call is the expected one then, but the runner also examines the part of the body that it read
 * (internal/app/referenceclient/wire_details.go), which is empty.
 */
function answersReadTooLate(output) {
  const isRace = ([, name, reason]) =>
    /^Timeouts\/.*\/Protocol:PROTOCOL_CONNECT\/.*\/unary$/.test(name) &&
    reason.trim() === "connect error JSON: unexpected end of JSON input";
  const cases = [...output.matchAll(/^FAILED: (.*):\n((?:\t.*\n)*)/gm)];
  const failed = Number(/^\d+ passed, (\d+) failed/m.exec(output)?.[1] ?? 0);
  return cases.length === failed && cases.every(isRace) ? failed : 0;
}
