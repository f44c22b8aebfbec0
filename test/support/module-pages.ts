/** Serves a page of modules to a browser: the built SDK, its dependencies, and further files, imported by name as a bundler lets applications do. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const MODULES = "/node_modules";

function submodules(name: string, parts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    parts.map((part) => [`${name}/${part}`, `${MODULES}/${name}/dist/esm/${part}/index.js`]),
  );
}

const IMPORTS = {
  "@ironflow-kv/client": "/packages/client/dist/index.js",
  "@ironflow-kv/client/gen": "/packages/client/dist/gen.js",
  "@bufbuild/protobuf": `${MODULES}/@bufbuild/protobuf/dist/esm/index.js`,
  ...submodules("@bufbuild/protobuf", ["codegenv1", "codegenv2", "wkt", "wire", "reflect"]),
  "@connectrpc/connect": `${MODULES}/@connectrpc/connect/dist/esm/index.js`,
  ...submodules("@connectrpc/connect", [
    "protocol",
    "protocol-connect",
    "protocol-grpc",
    "protocol-grpc-web",
  ]),
  "@connectrpc/connect-web": `${MODULES}/@connectrpc/connect-web/dist/esm/index.js`,
};

export interface ModulePages {
  /** Of the page. */
  readonly url: string;
  close(): void;
}

/** `script` is a module; the title of the page becomes "ready" after it. `files`: further modules by the name that the script imports. */
export async function startModulePages(
  script: string,
  files: Readonly<Record<string, string>> = {},
): Promise<ModulePages> {
  const paths = new Map(Object.entries(files).map(([name, file]) => [`/files/${name}`, file]));
  const imports = {
    ...IMPORTS,
    ...Object.fromEntries(Object.keys(files).map((name) => [name, `/files/${name}`])),
  };
  const page = `<!doctype html><meta charset="utf-8"><script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">${script}
document.title = "ready";</script>`;
  const server = createServer((request, response) => {
    const path = normalize(request.url ?? "/");
    if (path === "/") {
      response.setHeader("content-type", "text/html").end(page);
      return;
    }
    const file = paths.get(path) ?? join(ROOT, path);
    readFile(file).then(
      (data) =>
        response
          .setHeader("content-type", /^\.m?js$/.test(extname(file)) ? "text/javascript" : "application/json")
          .end(data),
      () => response.writeHead(404).end(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}
