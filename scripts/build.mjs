// Compiles packages/, src/ and gen/, and bundles the command and the embeddable service: most of a start would be spent loading hundreds of
// modules. Builds the web console at the same time. Does nothing if no source has changed since the last build. Does not check types:
// `npm run lint:types` does. With --types, as before packing, also writes the type declarations.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
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
/** Folders of which each module is compiled, for tests, benchmarks and scripts, and where to. */
const COMPILED = [
  ["src", "dist/src"],
  ["gen", "dist/gen"],
  ["examples", "dist/examples"],
  ["packages/http2/src", "dist/packages/http2/src"],
  ["packages/client/src", "dist/packages/client/src"],
  // The examples and the benchmarks import the workspace packages by name.
  ["packages/http2/src", "packages/http2/dist"],
];
/** The entry points for Node of the workspace packages. */
const PACKAGES = { http2: "index.ts", client: "index-node.ts" };
/** The entry points that are bundled, in dist/src. */
const BUNDLED = ["main", "embed"];
/** Contains the hash of the sources of the last complete build. */
const STAMP = `${root}dist/.sources`;

const hash = hashOfSources(root, SOURCES);
const consoleBuild = start("scripts/build-console.mjs");
if (!isBuilt()) await build();
if (process.argv.includes("--types"))
  run("node_modules/typescript/bin/tsc", "-p", `${root}tsconfig.build.json`, "--emitDeclarationOnly");
process.exitCode = await consoleBuild;

function isBuilt() {
  if (!existsSync(STAMP) || readFileSync(STAMP, "utf8") !== hash) return false;
  return existsSync(main) && existsSync(`${root}packages/client/dist/index-node.js`);
}

async function build() {
  process.stderr.write(
    "Building ironflow-kv. This takes a few seconds, and only after its sources have changed.\n",
  );
  removeBuild();
  const clientBuild = start("packages/client/scripts/build.mjs");
  for (const [from, to] of COMPILED) await compile(from, to);
  await bundle();
  if ((await clientBuild) !== 0) throw new Error("The build of packages/client failed.");
  writeFileSync(STAMP, hash);
}

/** Removes all of dist/ but the console, which has a build of its own. */
function removeBuild() {
  rmSync(`${root}packages/http2/dist`, { recursive: true, force: true });
  if (!existsSync(`${root}dist`)) return;
  for (const name of readdirSync(`${root}dist`)) {
    if (name !== "console") rmSync(`${root}dist/${name}`, { recursive: true, force: true });
  }
}

/** Compiles each module of a folder, with a source map. */
async function compile(from, to) {
  // Imported here, so a build with nothing to do ends sooner.
  const { transform } = await import("rolldown/utils");
  const modules = readdirSync(join(root, from), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  await Promise.all(
    modules.map(async (name) => {
      const source = join(root, from, name);
      const target = join(root, to, name.replace(/\.ts$/, ".js"));
      const { code, map, errors } = await transform(source, readFileSync(source, "utf8"), {
        target: "es2022",
        sourcemap: true,
        tsconfig: false,
        typescript: { onlyRemoveTypeImports: true },
      });
      if (errors.length > 0) throw new Error(errors.map(({ message }) => `${source}: ${message}`).join("\n"));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, `${code}\n//# sourceMappingURL=${basename(target)}.map\n`);
      writeFileSync(`${target}.map`, JSON.stringify(map));
    }),
  );
}

/** Bundles the entry points from the sources: they replace the modules with their names. */
async function bundle() {
  const { rolldown } = await import("rolldown");
  const bundled = await rolldown({
    input: Object.fromEntries(BUNDLED.map((name) => [name, `${root}src/${name}.ts`])),
    platform: "node",
    external: (id) => id.startsWith("node:") || EXTERNAL_PACKAGES.has(id),
    resolve: {
      alias: Object.fromEntries(
        Object.entries(PACKAGES).map(([name, entry]) => [
          `@ironflow-kv/${name}`,
          `${root}packages/${name}/src/${entry}`,
        ]),
      ),
    },
  });
  const { output } = await bundled.write({
    dir: `${root}dist/src`,
    format: "esm",
    chunkFileNames: "packed/[name].js",
  });
  await bundled.close();
  writeFileSync(`${root}dist/src/packed/LICENSES.txt`, licensesOf(output));
  chmodSync(main, 0o755);
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
