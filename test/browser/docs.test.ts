/** The API reference at /docs in a real browser: within the page's policy, with examples and links, and its calls reach the service. */
import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchChromium, RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { IS_EXTENDED } from "../support/extended.js";
import { send1 } from "../support/http-client.js";
import { startTestService, type TestService } from "../support/service.js";
import { accessibilityProblems, openConsole } from "./console-page.js";

const API_KEY = "a-key-for-the-api-reference";
const KEY = "/api/v1/kv/buckets/orders/keys/customer.17";
/** The script is large, and renders 27 operations. */
const RENDER_MS_MAX = 60_000;
/** Each tab of the snippets, and how a snippet of its language sends the method. */
const LANGUAGES: readonly (readonly [tab: string, sends: (method: string) => RegExp])[] = [
  ["Shell", (method) => (method === "GET" ? /^curl / : new RegExp(`^curl [^]*--request ${method} `))],
  [
    "TypeScript",
    (method) => (method === "GET" ? /^fetch\(/ : new RegExp(`^fetch\\([^]*method: '${method}'`)),
  ],
  ["Python", (method) => new RegExp(`^requests.${method.toLowerCase()}\\(`)],
  ["Go", (method) => new RegExp(`^package main[^]*http.NewRequest\\("${method}", `)],
];
const headers = { authorization: `Bearer ${API_KEY}` };

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the API reference", { timeout: 2 * RENDER_MS_MAX }, () => {
  let service: TestService;
  let browser: Browser;
  beforeAll(async () => {
    service = await startTestService({ "api-key": API_KEY });
    await send1(service.url, "POST", "/api/v1/kv/buckets", { body: '{"name":"orders"}', headers });
    browser = await launchChromium();
  }, 60_000);
  afterAll(async () => {
    await browser.close();
    await service.remove();
  });

  /** Opens the page, and collects what it asks of other hosts. */
  async function open(hash: string, apiKey?: string) {
    const { page, problems } = await openConsole(browser, "about:blank", apiKey);
    const elsewhere: string[] = [];
    page.on("request", (request) => {
      const { host, protocol } = new URL(request.url());
      if (protocol.startsWith("http") && host !== new URL(service.url).host) elsewhere.push(request.url());
    });
    await page.goto(`${service.url}/docs${hash}`);
    return { page, problems, elsewhere };
  }

  it("explains each reason of an error at an address of its own, with nothing that axe objects to", async () => {
    const { page, problems, elsewhere } = await open("#description/revision-mismatch");
    await page.getByRole("heading", { name: "revision mismatch" }).waitFor({ timeout: RENDER_MS_MAX });
    await expect.poll(() => page.evaluate(() => scrollY), { timeout: RENDER_MS_MAX }).toBeGreaterThan(0);
    expect(await accessibilityProblems(page)).toEqual([]);
    expect(problems).toEqual([]);
    expect(elsewhere).toEqual([]);
    await page.close();
  });

  const forEach = { timeout: IS_EXTENDED ? 10 * RENDER_MS_MAX : 2 * RENDER_MS_MAX };
  it("has a snippet in curl, TypeScript, Python and Go for each operation", forEach, async () => {
    const { page, problems, elsewhere } = await open("#tag/keys/putKey");
    await page.getByRole("tab", { name: "Shell" }).waitFor({ state: "attached", timeout: RENDER_MS_MAX });
    const tabs = page.getByRole("tablist").filter({ has: page.getByRole("tab", { name: "Shell" }) });
    expect(await tabs.getByRole("tab").allInnerTexts()).toEqual(LANGUAGES.map(([tab]) => tab));
    for (const [tab, sends] of LANGUAGES) {
      await page.getByRole("tab", { name: tab, exact: true }).click();
      for (const { tag, id, method } of operations()) {
        await page.evaluate((hash) => (location.hash = hash), `#tag/${tag}/${id}`);
        const snippet = page.locator(`[id$="tag/${tag}/${id}"] pre`).first();
        await expect
          .poll(() => snippet.innerText().then((text) => text.trim()), {
            message: `${tab} ${id}`,
            timeout: RENDER_MS_MAX,
          })
          .toMatch(sends(method));
      }
    }
    expect(problems).toEqual([]);
    expect(elsewhere).toEqual([]);
    await page.close();
  });

  it.each([
    ["putKey", "PUT"],
    ["getKey", "GET"],
  ])("shows %s with its examples and snippets, and sends it with a key", async (id, method) => {
    const { page, problems, elsewhere } = await open(`#tag/keys/${id}`);
    const operation = page.locator(`[id$="tag/keys/${id}"]`).first();
    await operation.getByText("If-None-Match").first().waitFor({ timeout: RENDER_MS_MAX });
    await operation.getByText("customer.17").first().waitFor({ state: "attached" });
    const name = new RegExp(`Test Request.*${method}.*keys/\\{key\\}`, "i");
    await page.getByRole("button", { name }).first().click();
    const dialog = page.getByRole("dialog").first();
    await dialog.getByLabel("Bearer Token").fill(API_KEY);
    const answered = page.waitForResponse((response) => response.url().includes("/api/v1/"));
    await dialog.getByRole("button", { name: /^Send/ }).first().click();
    const response = await answered;
    expect(`${response.request().method()} ${response.url()} ${response.status()}`).toBe(
      `${method} ${service.url}${KEY} 200`,
    );
    await dialog.getByText("200").first().waitFor();
    const stored = await send1(service.url, "GET", `${KEY}?raw=true`, { headers });
    expect(stored.text).toBe('{"name":"Ann"}');
    expect(problems).toEqual([]);
    expect(elsewhere).toEqual([]);
    await page.close();
  });
});

/** The operations of the document: two of them, and with EXTENDED=1 all. */
function operations(): readonly { tag: string; id: string; method: string }[] {
  const { paths } = JSON.parse(readFileSync(new URL("../../web/openapi.json", import.meta.url), "utf8")) as {
    paths: Record<string, Record<string, { operationId: string; tags: string[] }>>;
  };
  const all = Object.values(paths).flatMap((methods) =>
    Object.entries(methods).map(([method, { operationId, tags }]) => ({
      tag: (tags[0] ?? "").toLowerCase().replaceAll(" ", "-"),
      id: operationId,
      method: method.toUpperCase(),
    })),
  );
  return IS_EXTENDED ? all : all.filter(({ id }) => id === "putKey" || id === "createApiKey");
}
