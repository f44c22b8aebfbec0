/** The SDK in a real browser, from another origin than the service's. Needs Chromium (Debian's package `chromium`); skipped without. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHROMIUM, launchChromium } from "../support/chromium.js";
import { startTestService, type TestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
/** What the SDK imports by name, as a browser finds it. A bundler does this for applications. */
const MODULES = "/node_modules";
const IMPORT_MAP = {
  imports: {
    "@ironflow-kv/client": "/packages/client/dist/index.js",
    "@bufbuild/protobuf": `${MODULES}/@bufbuild/protobuf/dist/esm/index.js`,
    ...Object.fromEntries(
      ["codegenv1", "codegenv2", "wkt", "wire", "reflect"].map((part) => [
        `@bufbuild/protobuf/${part}`,
        `${MODULES}/@bufbuild/protobuf/dist/esm/${part}/index.js`,
      ]),
    ),
    "@connectrpc/connect": `${MODULES}/@connectrpc/connect/dist/esm/index.js`,
    ...Object.fromEntries(
      ["protocol", "protocol-connect", "protocol-grpc", "protocol-grpc-web"].map((part) => [
        `@connectrpc/connect/${part}`,
        `${MODULES}/@connectrpc/connect/dist/esm/${part}/index.js`,
      ]),
    ),
    "@connectrpc/connect-web": `${MODULES}/@connectrpc/connect-web/dist/esm/index.js`,
  },
};
const PAGE = `<!doctype html><meta charset="utf-8"><script type="importmap">${JSON.stringify(IMPORT_MAP)}</script>
<script type="module">
  import * as sdk from "@ironflow-kv/client";
  window.sdk = sdk;
  document.title = "ready";
</script>`;

/** Serves the page and the built files. */
async function startPages(): Promise<Server> {
  const server = createServer((request, response) => {
    const path = normalize(request.url ?? "/");
    if (path === "/") {
      response.setHeader("content-type", "text/html").end(PAGE);
      return;
    }
    readFile(join(ROOT, path)).then(
      (data) =>
        response
          .setHeader("content-type", extname(path) === ".js" ? "text/javascript" : "application/json")
          .end(data),
      () => response.writeHead(404).end(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

describe.skipIf(CHROMIUM === undefined)("the SDK in a browser", () => {
  let service: TestService;
  let pages: Server;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    service = await startTestService({ "api-key": "a-key-for-the-browser" });
    pages = await startPages();
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(pages.address() as AddressInfo).port}/`);
    await page.waitForFunction(() => document.title === "ready");
  });
  afterAll(async () => {
    await browser.close();
    pages.close();
    await service.remove();
  });

  it("writes, reads, is refused with typed errors, and watches, across origins", async () => {
    const seen = await page.evaluate(async (serverUrl) => {
      const { createClient, KvConflictError } = (
        window as unknown as { sdk: typeof import("@ironflow-kv/client") }
      ).sdk;
      const kv = createClient({ serverUrl, apiKey: "a-key-for-the-browser" }).kv();
      await kv.createBucket({ name: "browser", history: 5 });
      const bucket = kv.bucket("browser");
      await bucket.put("user:1", { name: "Alice" });
      const entry = await bucket.get("user:1");
      const conflict = await bucket.update("user:1", "x", 99n).catch((error: unknown) => error);
      const events: string[] = [];
      for await (const event of bucket.watch("user*")) {
        events.push(`${event.type} ${event.key}`);
        if (events.length === 1) await bucket.delete("user:1");
        if (events.length === 2) break;
      }
      return { text: entry.text(), isConflict: conflict instanceof KvConflictError, events };
    }, service.url);
    expect(seen).toEqual({
      text: '{"name":"Alice"}',
      isConflict: true,
      events: ["put user:1", "delete user:1"],
    });
  });

  it("shows the REST paths at /docs, within the page's own policy", async () => {
    const docs = await browser.newPage();
    const problems: string[] = [];
    docs.on("pageerror", (error) => problems.push(String(error)));
    docs.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    await docs.goto(`${service.url}/docs#KeyValueService_Put`);
    const put = docs.locator("#KeyValueService_Put");
    await put.getByText("Idempotency-Key").waitFor();
    await docs.fill("#find", "api-keys");
    await put.waitFor({ state: "hidden" });
    await docs.getByText("Creates a key.", { exact: true }).waitFor();
    expect(problems).toEqual([]);
    await docs.close();
  });

  it("calls the REST paths and opens the WebSocket as existing browser SDKs do", async () => {
    const seen = await page.evaluate(async (serverUrl) => {
      const headers = {
        Authorization: "Bearer a-key-for-the-browser",
        "X-Ironflow-Environment": "default",
        "Content-Type": "application/json",
      };
      const base = `${serverUrl}/api/v1/kv/buckets`;
      const made = await fetch(base, { method: "POST", headers, body: JSON.stringify({ name: "rest" }) });
      const put = await fetch(`${base}/rest/keys/k`, { method: "PUT", headers, body: "1" });
      const got = await fetch(`${base}/rest/keys/k`, { headers });
      return {
        statuses: [made.status, put.status, got.status],
        etag: put.headers.get("etag"),
        json: (await got.json()) as unknown,
      };
    }, service.url);
    expect(seen).toMatchObject({
      statuses: [201, 200, 200],
      etag: expect.stringMatching(/^"1-[0-9a-z]+"$/) as string,
      json: { key: "k", value: "MQ==", revision: 1 },
    });
  });
});
