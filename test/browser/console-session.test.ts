/** What belongs to the tab and the browser: the API key, the theme, the icon; and that the page asks no other host. */
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { send1 } from "../support/http-client.js";
import { API_KEY, consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("remembers the API key for this tab, also after a reload, and for no other", async ({
    kv,
    service,
    browser,
  }) => {
    await newBucket(kv, "remembered");
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${service.url}/console/buckets/remembered`);
    await page.getByLabel("API key").fill(API_KEY);
    await page.keyboard.press("Enter");
    await page.locator(".live-live").waitFor();
    await page.reload();
    await page.locator(".live-live").waitFor();
    const other = await context.newPage();
    await other.goto(page.url());
    await other.getByLabel("API key").waitFor();
    expect(await other.evaluate(() => localStorage.length + document.cookie.length)).toBe(0);
    await context.close();
  });

  it("is as dark as the system, or as the user says, also after a reload", async ({ open }) => {
    const { page } = await open("/console/buckets", { colorScheme: "dark" });
    await page.getByText("There is no bucket yet").or(page.getByRole("table")).first().waitFor();
    const background = (): Promise<string> =>
      page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await background();
    await page.emulateMedia({ colorScheme: "light" });
    const light = await background();
    expect(light).not.toBe(dark);
    await page.getByRole("button", { name: "System theme" }).click();
    await page.getByRole("button", { name: "Light theme" }).click();
    expect(await background()).toBe(dark);
    await page.reload();
    expect(await background()).toBe(dark);
    await page.getByRole("button", { name: "Dark theme" }).click();
    expect(await background()).toBe(light);
  });

  it("asks nothing of another host on any screen, and has an icon", async ({ kv, service, open }) => {
    const bucket = await newBucket(kv, "visited", 2);
    for (const n of [1, 2]) await bucket.put("seen", { n });
    const hosts = new Set<string>();
    const { page, problems } = await open("/console/buckets", {
      prepare: async (prepared) => {
        prepared.on("request", (request) => hosts.add(new URL(request.url()).host));
        await Promise.resolve();
      },
    });
    const screens = [
      ["/console/buckets/visited?key=seen&view=history", ".cm-content"],
      ["/console/live?bucket=visited", ".live-live"],
      ["/console/status", ".status-card"],
      ["/console/api-keys", "h1"],
    ] as const;
    for (const [path, loaded] of screens) {
      await page.goto(`${service.url}${path}`);
      await page.locator(loaded).first().waitFor();
    }
    expect([...hosts]).toEqual([new URL(service.url).host]);
    const icon = await page.locator("link[rel=icon]").getAttribute("href");
    const { status, headers, text } = await send1(service.url, "GET", icon ?? "");
    expect([status, headers["content-type"]]).toEqual([200, "image/svg+xml"]);
    expect(text).toContain("<svg");
    expect(problems).toEqual([]);
  });
});
