/**
 * Static files for browsers: the dashboard, the OpenAPI document and its page. Loaded once at startup. They need no API key; the dashboard's
 * calls do.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Exchange } from "./exchange.js";
import { send } from "./send.js";

interface StaticFile {
  readonly type: string;
  readonly data: Buffer;
}

const FILES: Readonly<Record<string, readonly [name: string, type: string]>> = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/dashboard.js": ["dashboard.js", "text/javascript; charset=utf-8"],
  "/dashboard.css": ["dashboard.css", "text/css; charset=utf-8"],
  "/docs": ["docs.html", "text/html; charset=utf-8"],
  "/docs.js": ["docs.js", "text/javascript; charset=utf-8"],
  "/docs.css": ["docs.css", "text/css; charset=utf-8"],
  "/openapi.json": ["openapi.json", "application/json"],
};

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'";

/** Serves these files; returns false for any other path. */
export function createStaticFiles(): (exchange: Exchange, path: string) => boolean {
  const files = loadFiles();
  return (exchange, path) => {
    const { method } = exchange;
    const file = method === "GET" || method === "HEAD" ? files.get(path) : undefined;
    if (file === undefined) return false;
    const headers = {
      "content-type": file.type,
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "cache-control": "no-cache",
    };
    send(exchange, { status: 200, headers, body: file.data });
    return true;
  };
}

function loadFiles(): Map<string, StaticFile> {
  // Relative to src/ in development, to dist/src/ when built.
  const folders = ["../../web/", "../../../web/"].map((relative) => new URL(relative, import.meta.url));
  const folder = folders.find((one) => existsSync(new URL("index.html", one)));
  if (folder === undefined)
    throw new Error("The files for browsers are missing from the package: there is no folder web/.");
  return new Map(
    Object.entries(FILES).map(([path, [name, type]]) => [
      path,
      { type, data: readFileSync(fileURLToPath(new URL(name, folder))) },
    ]),
  );
}
