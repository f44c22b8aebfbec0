// Compiles packages/, src/ and gen/, bundles the command and the embeddable service (loading hundreds of modules takes most of a start), and marks
// the command executable.
import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

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

rmSync(`${root}dist`, { recursive: true, force: true });
compile("packages/http2/tsconfig.json");
compile("tsconfig.build.json");
const bundle = await rolldown({
  input: [main, `${root}dist/src/embed.js`],
  platform: "node",
  external: (id) => id.startsWith("node:") || APART.has(id),
});
const { output } = await bundle.write({
  dir: `${root}dist/src`,
  format: "esm",
  chunkFileNames: "packed/[name].js",
});
await bundle.close();
writeFileSync(`${root}dist/src/packed/LICENSES.txt`, licensesOf(output));
chmodSync(main, 0o755);

function compile(project) {
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", `${root}${project}`], {
    stdio: "inherit",
  });
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
