/** The SDK in a real browser, without a bundler: the built files by an import map, across origins. Skipped where there is no chromium. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { join, normalize } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as Sdk from "../../src/client/index.js";
import { startTestService, type TestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
const PROTOBUF = "/node_modules/@bufbuild/protobuf/dist/esm";
const CONNECT = "/node_modules/@connectrpc/connect/dist/esm";

/** Every bare name that the SDK and its two libraries import. */
const IMPORTS = {
  "ironflow-kv": "/dist/src/client/index.js",
  "@bufbuild/protobuf": `${PROTOBUF}/index.js`,
  "@bufbuild/protobuf/codegenv2": `${PROTOBUF}/codegenv2/index.js`,
  "@bufbuild/protobuf/wire": `${PROTOBUF}/wire/index.js`,
  "@bufbuild/protobuf/wkt": `${PROTOBUF}/wkt/index.js`,
  "@connectrpc/connect": `${CONNECT}/index.js`,
  "@connectrpc/connect/protocol": `${CONNECT}/protocol/index.js`,
  "@connectrpc/connect/protocol-connect": `${CONNECT}/protocol-connect/index.js`,
  "@connectrpc/connect/protocol-grpc-web": `${CONNECT}/protocol-grpc-web/index.js`,
  "@connectrpc/connect-web": "/node_modules/@connectrpc/connect-web/dist/esm/index.js",
};
const PAGE = `<!doctype html>
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module">import * as sdk from "ironflow-kv"; globalThis.sdk = sdk;</script>`;

/** Serves the page and the package's files. */
async function serveFiles(): Promise<Server> {
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    if (path === "/") {
      response.setHeader("content-type", "text/html").end(PAGE);
      return;
    }
    readFile(join(ROOT, normalize(path))).then(
      (file) => response.setHeader("content-type", "text/javascript").end(file),
      () => response.writeHead(404).end(),
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Runs in the page, which has loaded the package. Gives what it saw. */
async function useSdk(url: string): Promise<unknown[]> {
  const { createClient, KvConflictError, KvNotFoundError } = (globalThis as unknown as { sdk: typeof Sdk })
    .sdk;
  const kv = createClient({ serverUrl: url }).kv();
  await kv.createBucket({ name: "pages", history: 2 });
  const bucket = kv.bucket("pages");
  const { revision } = await bucket.put("user.1", { name: "Alice" });
  const seen: unknown[] = [(await bucket.get("user.1")).json()];
  const conflict: unknown = await bucket
    .update("user.1", "x", revision + 1n)
    .catch((error: unknown) => error);
  seen.push(conflict instanceof KvConflictError && conflict.currentRevision === revision);
  const missing: unknown = await bucket.get("user.9").catch((error: unknown) => error);
  seen.push(missing instanceof KvNotFoundError);
  const controller = new AbortController();
  for await (const event of bucket.watch("user.*", { signal: controller.signal })) {
    seen.push(`${event.type} ${event.key}`);
    if (event.key === "user.1") await bucket.put("user.2", "x");
    else controller.abort();
  }
  return seen;
}

describe.skipIf(!existsSync(CHROMIUM))("the SDK in a browser", () => {
  let service: TestService;
  let files: Server;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    [service, files, browser] = await Promise.all([
      startTestService(),
      serveFiles(),
      chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] }),
    ]);
    const address = files.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${address.port}/`);
  });
  afterAll(async () => {
    await browser.close();
    files.close();
    await service.remove();
  });

  it("writes, reads, tells errors apart and watches, from a page of another origin", async () => {
    expect(await page.evaluate(useSdk, service.url)).toEqual([
      { name: "Alice" },
      true,
      true,
      "put user.1",
      "put user.2",
    ]);
  });
});
