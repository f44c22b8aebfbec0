// Bundles the SDK and its generated code into dist/; with --types, as before packing, also writes the type declarations.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const folder = fileURLToPath(new URL("..", import.meta.url));
rmSync(`${folder}dist`, { recursive: true, force: true });
const bundle = await rolldown({
  input: {
    index: `${folder}src/index.ts`,
    "index-node": `${folder}src/index-node.ts`,
    gen: `${folder}src/gen.ts`,
  },
  platform: "neutral",
  external: (id) => /^(node:|@(bufbuild|connectrpc)\/)/.test(id),
});
await bundle.write({
  dir: `${folder}dist`,
  format: "esm",
  chunkFileNames: "shared-[hash].js",
  sourcemap: true,
});
await bundle.close();
if (process.argv.includes("--types")) {
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", `${folder}tsconfig.json`], { stdio: "inherit" });
}
