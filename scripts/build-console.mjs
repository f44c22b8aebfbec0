// Builds the web console and the page at /docs into dist/console, with a compressed copy of each file. Does nothing if no source has changed since the last build.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { buildApiReference } from "./build-api-reference.mjs";
import { hashOfSources } from "./source-hash.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = `${root}dist/console`;
const STAMP = `${folder}/.sources`;
const SOURCES = [
  "console",
  "gen",
  "packages/client/src/gen.ts",
  "scripts/build-console.mjs",
  "scripts/build-api-reference.mjs",
  "web/docs.html",
  "package-lock.json",
];
/** Smaller files gain nothing. */
const COMPRESSED_BYTES_MIN = 1_000;
/** Higher ones take seconds for a per cent. */
const BROTLI_QUALITY = 9;

const hash = hashOfSources(root, SOURCES);
if (!existsSync(STAMP) || readFileSync(STAMP, "utf8") !== hash) {
  if (isInstalled()) await build();
  else
    process.stderr.write(
      "The web console is not built: its packages are not installed. Run `npm ci`, then `npm run build`.\n",
    );
}

function isInstalled() {
  const { resolve } = createRequire(`${root}console/package.json`);
  try {
    for (const name of [
      "vite",
      "react-aria-components",
      "@tanstack/react-router",
      "@scalar/fastify-api-reference",
    ])
      resolve(name);
    return true;
  } catch {
    return false;
  }
}

async function build() {
  // Imported here: most runs have nothing to do.
  const vite = await import("vite");
  await vite.build({ configFile: `${root}console/vite.config.ts`, logLevel: "warn" });
  buildApiReference(root, folder);
  await Promise.all(
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(js|css|html|svg)$/.test(name))
      .map((name) => compress(join(folder, name))),
  );
  writeFileSync(STAMP, hash);
}

async function compress(file) {
  const data = readFileSync(file);
  if (data.length < COMPRESSED_BYTES_MIN) return;
  const params = { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY };
  writeFileSync(`${file}.br`, await promisify(brotliCompress)(data, { params }));
  writeFileSync(`${file}.gz`, await promisify(gzip)(data, { level: 9 }));
}
