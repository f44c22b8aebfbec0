/** The SDK in a real browser, from another origin than the service's. Needs Chromium (Debian's package `chromium`); skipped without. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHROMIUM, launchChromium } from "../support/chromium.js";
import { type ModulePages, startModulePages } from "../support/module-pages.js";
import { startTestService, type TestService } from "../support/service.js";

const SCRIPT = `
  import * as sdk from "@ironflow-kv/client";
  window.sdk = sdk;`;

describe.skipIf(CHROMIUM === undefined)("the SDK in a browser", () => {
  let service: TestService;
  let pages: ModulePages;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    service = await startTestService({ "api-key": "a-key-for-the-browser" });
    pages = await startModulePages(SCRIPT);
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(pages.url);
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
