// Compiles packages/, src/ and gen/, and bundles the command and the embeddable service: most of a start would be spent loading hundreds of
// modules. Does nothing if no source has changed since the last build.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

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
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
];
/** The entry points for Node of the workspace packages. */
const PACKAGES = { http2: "index.js", client: "index-node.js" };
/** Contains the hash of the sources of the last complete build. */
const STAMP = `${root}dist/.sources`;

const hash = hashOfSources();
if (isBuilt()) process.exit(0);
process.stderr.write(
  "Building ironflow-kv. This takes a few seconds, and only after its sources have changed.\n",
);
rmSync(`${root}dist`, { recursive: true, force: true });
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

function isBuilt() {
  if (!existsSync(STAMP) || readFileSync(STAMP, "utf8") !== hash) return false;
  return existsSync(main) && existsSync(`${root}packages/client/dist/index-node.js`);
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
