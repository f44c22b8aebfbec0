/**
 * Runs h2spec (https://github.com/summerwind/h2spec) against the listener's HTTP/2. It needs Go to build, and is kept in
 * node_modules/.cache; where Go is missing it says so and ends well.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const PROGRAM = "github.com/summerwind/h2spec/cmd/h2spec";
const ROOT = join(import.meta.dirname, "../..");
/** A Go module that says from which versions it is built. */
const MODULE = join(import.meta.dirname, "h2spec");
const CACHE = join(ROOT, "node_modules/.cache/h2spec");
const RUNNER = join(CACHE, process.platform === "win32" ? "h2spec.exe" : "h2spec");
const REPORT = join(CACHE, "report.xml");
/** How long h2spec waits for what the rules demand. */
const TIMEOUT_SECONDS = "5";

/** Cases that don't apply, and why. */
const EXCLUDED = new Map([
  [
    "Sends invalid connection preface",
    "what does not begin with the preface of HTTP/2 is HTTP/1.1 on this port, and is answered as that",
  ],
]);

if (spawnSync("go", ["version"]).status !== 0) {
  console.log("Skipped: h2spec needs Go (https://go.dev) to build.");
  process.exit(0);
}
mkdirSync(CACHE, { recursive: true });
if (!existsSync(RUNNER)) {
  execFileSync("go", ["build", "-o", RUNNER, PROGRAM], {
    cwd: MODULE,
    env: { ...process.env, GOFLAGS: "" },
    stdio: "inherit",
  });
}

const listener = await startListener();
const options = [
  "--strict",
  "-h",
  "127.0.0.1",
  "-p",
  String(listener.port),
  "-o",
  TIMEOUT_SECONDS,
  "-j",
  REPORT,
];
const child = spawn(RUNNER, options, { stdio: ["ignore", "pipe", "inherit"] });
let output = "";
child.stdout.on("data", (chunk) => (output += chunk));
await new Promise((resolve) => child.on("close", resolve));
await listener.drain(0);

const cases = casesOf(readFileSync(REPORT, "utf8"));
const failed = cases.filter(({ result, name }) => result === "failed" && !EXCLUDED.has(name));
const count = (result) => cases.filter((one) => one.result === result).length;
if (failed.length > 0) console.log(output);
console.log(
  `h2spec: ${cases.length} cases; ${count("passed")} passed, ${failed.length} failed, ${count("skipped")} skipped by h2spec, ` +
    `${count("failed") - failed.length} excluded: ${[...EXCLUDED.values()].join("; ")}`,
);
process.exit(failed.length === 0 && cases.length > 100 ? 0 : 1);

/** The service's listener; its handler answers a request when that is complete. */
async function startListener() {
  const { listen } = await import(join(ROOT, "dist/src/listener/listener.js"));
  const { DEFAULT_LIMITS } = await import(join(ROOT, "dist/src/kv/limits.js"));
  return listen({
    host: "127.0.0.1",
    port: 0,
    limits: DEFAULT_LIMITS,
    tls: undefined,
    handler: {
      handle(exchange) {
        const received = () => exchange.respond(200, { "content-type": "text/plain" }, "It works.\n");
        exchange.read({ receive: () => undefined, received });
      },
      handleUpgrade: ({ socket }) => socket.destroy(),
    },
  });
}

/** The cases of a JUnit report. */
function casesOf(xml) {
  return [...xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([^]*?)<\/testcase>/g)].map(
    ([, section, name, content]) => ({
      section,
      name,
      result: /<(failure|error)/.test(content) ? "failed" : /<skipped/.test(content) ? "skipped" : "passed",
    }),
  );
}
