// Compiles packages/, src/ and gen/, bundles the command and the embeddable service (loading hundreds of modules takes most of a start), and marks
// the command executable. Does nothing if no source changed since the last build.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const main = `${root}dist/src/main.js`;
/** Packages that find files of their own, or that the program around ours shares with us. */
const APART = new Set([
  "pino",
  "pino-pretty",
  "@opentelemetry/api",
  "ws",
  "prom-client",
  "cli-progress",
  "commander",
]);

/** Everything that the build reads. */
const SOURCES = [
  "src",
  "gen",
  "examples",
  "packages",
  "scripts/build.mjs",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
];
/** Our packages, in the order of their dependencies. */
const PACKAGES = ["http2", "client"];
/** Holds the hash of the sources of the last complete build. */
const STAMP = `${root}dist/.sources`;

const hash = hashOfSources();
if (isBuilt()) process.exit(0);
process.stderr.write("Building ironflow-kv: a few seconds, only after a change of its sources.\n");
rmSync(`${root}dist`, { recursive: true, force: true });
run("node_modules/typescript/bin/tsc", "-p", `${root}tsconfig.build.json`);
// The examples and the benchmarks import our packages by their names.
run("node_modules/typescript/bin/tsc", "-p", `${root}packages/http2/tsconfig.json`);
run("packages/client/scripts/build.mjs");
// Loaded here: a build with nothing to do ends sooner.
const { rolldown } = await import("rolldown");
const bundle = await rolldown({
  input: [main, `${root}dist/src/embed.js`],
  platform: "node",
  external: (id) => id.startsWith("node:") || APART.has(id),
  // Our packages are bundled from this compilation, so that they share the generated code.
  resolve: {
    alias: Object.fromEntries(
      PACKAGES.map((one) => [`@ironflow-kv/${one}`, `${root}dist/packages/${one}/src/index.js`]),
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

function isBuilt() {
  if (!existsSync(STAMP) || readFileSync(STAMP, "utf8") !== hash) return false;
  return existsSync(main) && existsSync(`${root}packages/client/dist/index.js`);
}

function hashOfSources() {
  const all = createHash("sha256");
  for (const source of SOURCES) {
    for (const file of filesOf(source))
      all
        .update(`${file}\0`)
        .update(readFileSync(join(root, file)))
        .update("\0");
  }
  return all.digest("hex");
}

function filesOf(path) {
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { withFileTypes: true })
    .filter(({ name }) => name !== "dist" && name !== "node_modules")
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap(({ name }) => filesOf(`${path}/${name}`));
}

function run(script, ...args) {
  execFileSync(process.execPath, [`${root}${script}`, ...args], { stdio: "inherit" });
}

/** The licences of the packages whose code is among what was packed. */
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
