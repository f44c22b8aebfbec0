/** The files of the built web console, in memory, each with its compressed forms. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** A file for browsers. */
export interface StaticFile {
  readonly type: string;
  readonly cacheControl: string;
  readonly data: Buffer;
  /** By content coding (RFC 9110 section 8.4.1). */
  readonly encoded: ReadonlyMap<"br" | "gzip", Buffer>;
}

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};
/** The names of the files in assets/ contain a hash of their content. */
const IMMUTABLE = "public, max-age=31536000, immutable";

const NOT_BUILT = `<!doctype html><html lang="en"><meta charset="utf-8" /><title>ironflow-kv</title>
<p>The service is running, but its web console is not built. Run <code>npm run build</code>, then restart the service.</p></html>
`;

/** The page for an installation whose console is not built. */
export const NOT_BUILT_PAGE: StaticFile = {
  type: "text/html; charset=utf-8",
  cacheControl: "no-store",
  data: Buffer.from(NOT_BUILT),
  encoded: new Map(),
};

/** Returns the files by path, such as `/assets/index-a1b2c3.js`; `/index.html` is the page. Undefined if the console is not built. */
export function loadConsole(): ReadonlyMap<string, StaticFile> | undefined {
  // Relative to src/protocol/ in development and to dist/src/packed/ when built.
  const places = ["../../dist/console/", "../../console/", "../console/"];
  const folder = places
    .map((relative) => fileURLToPath(new URL(relative, import.meta.url)))
    .find((one) => existsSync(`${one}index.html`) && existsSync(`${one}assets`));
  if (folder === undefined) return undefined;
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (name) => extname(name) in TYPES,
  );
  return new Map(
    names.map((name) => {
      const path = `/${name.replaceAll("\\", "/")}`;
      return [
        path,
        {
          type: TYPES[extname(name)] ?? "",
          cacheControl: path.startsWith("/assets/") ? IMMUTABLE : "no-cache",
          data: readFileSync(`${folder}${name}`),
          encoded: encodedForms(`${folder}${name}`),
        },
      ];
    }),
  );
}

function encodedForms(file: string): Map<"br" | "gzip", Buffer> {
  const forms = new Map<"br" | "gzip", Buffer>();
  if (existsSync(`${file}.br`)) forms.set("br", readFileSync(`${file}.br`));
  if (existsSync(`${file}.gz`)) forms.set("gzip", readFileSync(`${file}.gz`));
  return forms;
}
