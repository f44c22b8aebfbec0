/**
 * Static files for browsers: the web console, the OpenAPI document and its page. Loaded once at startup. They need no API key; the calls of the
 * console do.
 */
import { existsSync, readFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { acceptsCoding } from "./accept-encoding.js";
import { loadConsole, NOT_BUILT_PAGE, type StaticFile } from "./console-files.js";
import type { Exchange } from "./exchange.js";
import { send } from "./send.js";

const FILES: Readonly<Record<string, readonly [name: string, type: string]>> = {
  "/docs.js": ["docs.js", "text/javascript; charset=utf-8"],
  "/docs.css": ["docs.css", "text/css; charset=utf-8"],
  "/openapi.json": ["openapi.json", "application/json"],
};

/** The screens of the console have paths below this one; all of them are the same page. */
const CONSOLE_PATH = "/console";

const policyWith = (styles: string): string =>
  `default-src 'none'; script-src 'self'; style-src ${styles}; connect-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
const POLICY = policyWith("'self'");
/**
 * The API reference inserts these style elements: those of Scalar 1.76.3, its theme, and its dialogs. After an update of it,
 * test/browser/docs.test.ts names a hash that is missing.
 */
const DOCS_POLICY = policyWith(
  [
    "'self'",
    "'sha256-SdwVUZnWy8xuzu9alwp9UnSB2w2COBuIILA4H0uPqJM='",
    "'sha256-l/2OpPg0d+2VLTLgwjf5mQo2CYwHDEqdj5TjbfEyVJI='",
    "'sha256-T13Uev3xCax2N28XaoAE8DOzQZKvPp7ZQVAi1iRREjo='",
    "'sha256-XjBf7PCRsyRvfdDmKwLE06cKB983x9Of8q9FwauUUFk='",
    "'sha256-gmXByKZQ55+6LD1IX9vtDPBwThIQbraY9EGJSFapMGc='",
    "'sha256-xXAkSAf7sDxQaCfL8fcYPPRN17EC3DxfjHY9z3zvmIY='",
    // An empty one.
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
  ].join(" "),
);

/** Read and compressed once for all services of a process. */
let filesOfPackage: ReadonlyMap<string, StaticFile> | undefined;
let filesOfConsole: ReadonlyMap<string, StaticFile> | undefined;

/** Reads the files, if they are not in memory. */
export function loadStaticFiles(): void {
  filesOfPackage ??= loadFiles();
  filesOfConsole ??= loadConsole();
}

/** Serves these files; returns false for any other path. Without `consoleFiles` its page says that the console is not built. */
export function createStaticFiles(
  consoleFiles: ReadonlyMap<string, StaticFile> | undefined = (filesOfConsole ??= loadConsole()),
): (exchange: Exchange, path: string) => boolean {
  const files = (filesOfPackage ??= loadFiles());
  const page = consoleFiles?.get("/index.html") ?? NOT_BUILT_PAGE;
  const docs = consoleFiles?.get("/docs.html") ?? NOT_BUILT_PAGE;

  const fileOf = (path: string): StaticFile | undefined => {
    if (path === "/" || path === CONSOLE_PATH || path.startsWith(`${CONSOLE_PATH}/`)) return page;
    if (path === "/docs") return docs;
    return files.get(path) ?? (path.endsWith(".html") ? undefined : consoleFiles?.get(path));
  };

  return (exchange, path) => {
    const { method, headers } = exchange;
    const file = method === "GET" || method === "HEAD" ? fileOf(path) : undefined;
    if (file === undefined) return false;
    const coding = codingFor(headers, file);
    const fields = {
      "content-type": file.type,
      "content-security-policy": file === docs ? DOCS_POLICY : POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": file.cacheControl,
      vary: "accept-encoding",
      ...(coding === undefined ? {} : { "content-encoding": coding }),
    };
    const body = (coding === undefined ? undefined : file.encoded.get(coding)) ?? file.data;
    send(exchange, { status: file === NOT_BUILT_PAGE ? 503 : 200, headers: fields, body });
    return true;
  };
}

/** The smallest form that the client accepts (RFC 9110 section 12.5.3). Undefined: as it is. */
function codingFor(headers: IncomingHttpHeaders, { encoded }: StaticFile): "br" | "gzip" | undefined {
  return (["br", "gzip"] as const).find((coding) => encoded.has(coding) && acceptsCoding(headers, coding));
}

function loadFiles(): Map<string, StaticFile> {
  // Relative to src/ in development, to dist/src/ when built.
  const folders = ["../../web/", "../../../web/"].map((relative) => new URL(relative, import.meta.url));
  const folder = folders.find((one) => existsSync(new URL("openapi.json", one)));
  if (folder === undefined)
    throw new Error("The files for browsers are missing from the package: there is no folder web/.");
  return new Map(
    Object.entries(FILES).map(([path, [name, type]]) => [
      path,
      {
        type,
        cacheControl: "no-cache",
        ...bytesOf(fileURLToPath(new URL(name, folder))),
      },
    ]),
  );
}

function bytesOf(file: string): Pick<StaticFile, "data" | "encoded"> {
  const data = readFileSync(file);
  return { data, encoded: new Map([["gzip", gzipSync(data)]]) };
}
