// Writes the page at /docs into the folder of the built console: the reference of the OpenAPI document by Scalar, as one script.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { runInNewContext } from "node:vm";

/** What is changed in the script. */
const CHANGES = [
  // The policy of the page refuses style attributes. The line count of code blocks. Without it they look the same.
  [/` style="--line-count: \$\{\w+\}; --line-digits: \$\{[^}]*\};"`/g, "``"],
  // The measurement of scroll bars.
  [/(\w+)\.setAttribute\(`style`,(`[^`]*`)\)/g, "$1.style.cssText=$2"],
  // Snippets with `fetch` are valid TypeScript as they are.
  [/(\{key:`node`,title:)`Node\.js`/g, "$1`TypeScript`"],
];

/** `root`: the repository. `folder`: where the console was built. */
export function buildApiReference(root, folder) {
  const require = createRequire(`${root}console/package.json`);
  const script = Buffer.from(readScript(require.resolve("@scalar/fastify-api-reference")));
  const hash = createHash("sha256").update(script).digest("base64url").slice(0, 8);
  const name = `assets/api-reference-${hash}.js`;
  writeFileSync(`${folder}/${name}`, script);
  const page = readFileSync(`${root}web/docs.html`, "utf8");
  writeFileSync(`${folder}/docs.html`, page.replace("%API_REFERENCE%", `/${name}`));
}

/** The package for Fastify contains the script for browsers as one string, and does not install the 188 packages it is made of. */
function readScript(file) {
  const literal = /^var standalone_default = (".*");$/m.exec(readFileSync(file, "utf8"))?.[1];
  if (literal === undefined) throw new Error(`${file} does not contain the script for browsers any more.`);
  return CHANGES.reduce((script, [pattern, replacement]) => {
    const changed = script.replace(pattern, replacement);
    if (changed === script) throw new Error(`${file} does not contain ${pattern} any more.`);
    return changed;
  }, runInNewContext(literal));
}
