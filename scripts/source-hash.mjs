// A hash of source files, by which a build decides whether it has anything to do.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Returns the hash of these files and folders, without `dist` and `node_modules`. Paths are relative to `root`. */
export function hashOfSources(root, sources) {
  const all = createHash("sha256");
  for (const source of sources) {
    for (const file of filesOf(root, source))
      all
        .update(`${file}\0`)
        .update(readFileSync(join(root, file)))
        .update("\0");
  }
  return all.digest("hex");
}

function filesOf(root, path) {
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { withFileTypes: true })
    .filter(({ name }) => name !== "dist" && name !== "node_modules")
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap(({ name }) => filesOf(root, `${path}/${name}`));
}
