// Compiles packages/, src/ and gen/, and bundles the command and the embeddable service: most of a start would be spent loading hundreds of
// modules. Builds the web console at the same time. Does nothing if no source has changed since the last build.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { hashOfSources } from "./source-hash.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const main = `${root}dist/src/main.js`;
/** Packages that are not bundled: they load their own files, or the program that embeds the service shares them. */
const EXTERNAL_PACKAGES = new Set([
  "pino",
  "pino-pretty",
  "@opentelemetry/api",
  "ws",
  "prom-client",
  "cli-progress",
  "commander",
]);

/** The inputs of the build. */
const SOURCES = [
  "src",
  "gen",
  "examples",
  "packages",
  "scripts/build.mjs",
  "scripts/source-hash.mjs",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
];
/** The entry points for Node of the workspace packages. */
const PACKAGES = { http2: "index.js", client: "index-node.js" };
/** Contains the hash of the sources of the last complete build. */
const STAMP = `${root}dist/.sources`;

const hash = hashOfSources(root, SOURCES);
const consoleBuild = start("scripts/build-console.mjs");
if (isBuilt()) process.exit(await consoleBuild);
process.stderr.write(
  "Building ironflow-kv. This takes a few seconds, and only after its sources have changed.\n",
);
removeBuild();
run("node_modules/typescript/bin/tsc", "-p", `${root}tsconfig.build.json`);
// The examples and the benchmarks import the workspace packages by name.
run("node_modules/typescript/bin/tsc", "-p", `${root}packages/http2/tsconfig.json`);
run("packages/client/scripts/build.mjs");
// Imported here, so a build with nothing to do ends sooner.
const { rolldown } = await import("rolldown");
const bundle = await rolldown({
  input: [main, `${root}dist/src/embed.js`],
  platform: "node",
  external: (id) => id.startsWith("node:") || EXTERNAL_PACKAGES.has(id),
  // Bundle the workspace packages from this compilation, so all of it shares one copy of the generated code.
  resolve: {
    alias: Object.fromEntries(
      Object.entries(PACKAGES).map(([name, entry]) => [
        `@ironflow-kv/${name}`,
        `${root}dist/packages/${name}/src/${entry}`,
      ]),
    ),
  },
});
const { output } = await bundle.write({
  dir: `${root}dist/src`,
  format: "esm",
  chunkFileNames: "packed/[name].js",
});
await bundle.close();
writeFileSync(`${root}dist/src/packed/LICENSES.txt`, licensesOf(output));
chmodSync(main, 0o755);
writeFileSync(STAMP, hash);
process.exitCode = await consoleBuild;

function isBuilt() {
  if (!existsSync(STAMP) || readFileSync(STAMP, "utf8") !== hash) return false;
  return existsSync(main) && existsSync(`${root}packages/client/dist/index-node.js`);
}

/** Removes all of dist/ but the console, which has a build of its own. */
function removeBuild() {
  if (!existsSync(`${root}dist`)) return;
  for (const name of readdirSync(`${root}dist`)) {
    if (name !== "console") rmSync(`${root}dist/${name}`, { recursive: true, force: true });
  }
}

/** Starts a script in a process of its own. Returns a promise of its exit code. */
function start(script) {
  const child = spawn(process.execPath, [`${root}${script}`], { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

function run(script, ...args) {
  execFileSync(process.execPath, [`${root}${script}`, ...args], { stdio: "inherit" });
}

/** The licences of all bundled packages. */
function licensesOf(chunks) {
  const folders = new Set();
  for (const { moduleIds = [] } of chunks) {
    for (const id of moduleIds) {
      const found = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0];
      if (found !== undefined) folders.add(found);
    }
  }
  const texts = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
    const text = file === undefined ? "" : `\n\n${readFileSync(join(folder, file), "utf8").trim()}`;
    return `${name} ${version}: ${license}${text}\n`;
  });
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}
