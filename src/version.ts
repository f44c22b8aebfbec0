/** The version of this package. */
import { existsSync, readFileSync } from "node:fs";

const NAME = "ironflow-kv";

/** Read from the package.json above this module: how deep it lies depends on the build. */
export function packageVersion(): string {
  for (let folder = new URL("./", import.meta.url); ;) {
    const file = new URL("package.json", folder);
    if (existsSync(file)) {
      const manifest = JSON.parse(readFileSync(file, "utf8")) as { name?: string; version?: string };
      if (manifest.name === NAME && manifest.version !== undefined) return manifest.version;
    }
    const parent = new URL("../", folder);
    if (parent.href === folder.href)
      throw new Error(`there is no package.json of ${NAME} above ${import.meta.url}`);
    folder = parent;
  }
}
