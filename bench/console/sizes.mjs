// What a browser downloads for the console, compressed with gzip.
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../dist/console/assets/", import.meta.url));
const PARTS = [
  ["the first page", /^index-.*\.(js|css)\.gz$/],
  ["the editor of values", /^code-editor-.*\.gz$/],
  ["the API reference", /^api-reference-.*\.gz$/],
];

/** Pairs of a name and a number of bytes. */
export function gzipSizes() {
  const files = readdirSync(FOLDER);
  return PARTS.map(([name, pattern]) => [
    name,
    files.filter((file) => pattern.test(file)).reduce((sum, file) => sum + statSync(FOLDER + file).size, 0),
  ]);
}
