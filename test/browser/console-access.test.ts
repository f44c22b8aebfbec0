/** What the console does when the service refuses: an expired key, a scope that is missing, a limit that is reached, a bucket that is gone. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import type { TestService } from "../support/service.js";
import { accessibilityProblems } from "./console-page.js";
import { API_KEY, consoleTest, newBucket, rowOf } from "./console-test.js";

const it = consoleTest({ "watches-per-api-key-max": "1" });
const apiKeysOf = (service: TestService) =>
  createClient({ serverUrl: service.url, apiKey: API_KEY }).apiKeys();

/** Counts the watches that the page starts. */
const watchesOf = (page: Page): { count: number } => {
  const watches = { count: 0 };
  page.on("request", (request) => {
    if (request.url().endsWith("/Watch")) watches.count++;
  });
  return watches;
};

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("asks for another key when its key expires, and then opens the same place", async ({
    service,
    kv,
    open,
  }) => {
    await (await newBucket(kv, "expiring")).put("seen", 1);
    const { secret } = await apiKeysOf(service).create({
      name: "short",
      scopes: [{ accesses: ["read", "watch"], buckets: "*" }],
      expiresInSeconds: 3,
    });
    const { page } = await open("/console/buckets/expiring?key=seen", { apiKey: secret });
    await page.getByRole("alert").getByText("did not accept the API key").waitFor();
    await page.getByLabel("API key").fill(API_KEY);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "seen" }).waitFor();
    await page.locator(".live-live").waitFor();
  });

  it("says once that a key may not watch, and disables what it may not do with the reason", async ({
    service,
    kv,
    open,
  }) => {
    await (await newBucket(kv, "guarded")).put("seen", 1);
    const { secret } = await apiKeysOf(service).create({
      name: "reader",
      scopes: [{ accesses: ["read"], buckets: "guarded" }],
    });
    let watches = { count: 0 };
    const { page, problems } = await open("/console/buckets/guarded?key=seen", {
      apiKey: secret,
      prepare: async (prepared) => {
        await prepared.clock.install();
        watches = watchesOf(prepared);
      },
    });
    await page.getByText("Not live:").waitFor();
    await rowOf(page, "seen").waitFor();
    await page.clock.runFor(60_000);
    expect(watches.count).toBe(1);
    expect(await page.getByText("Not live:").count()).toBe(1);
    for (const name of ["New key", "Edit"]) {
      const button = page.getByRole("button", { name, exact: true });
      expect(await button.getAttribute("aria-disabled")).toBe("true");
      await button.focus();
      await page.clock.runFor(1_000);
      await page.getByRole("tooltip").getByText("it needs the scope write on it").waitFor();
    }
    // Axe wants everything in a landmark, also a tooltip.
    await page.keyboard.press("Escape");
    await page.getByRole("tooltip").waitFor({ state: "detached" });
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("link", { name: "API keys" }).click();
    await page.getByRole("note").waitFor();
    await page.getByRole("link", { name: "Status" }).click();
    await page.getByText("it needs the scope admin on *").waitFor();
    expect(problems).toEqual([]);
  });

  it("says once that there are too many watches, and watches when the user tries again", async ({
    service,
    kv,
    open,
  }) => {
    await newBucket(kv, "crowded");
    const { secret } = await apiKeysOf(service).create({
      name: "watcher",
      scopes: [{ accesses: ["read", "watch"], buckets: "*" }],
    });
    const first = await open("/console/buckets/crowded", { apiKey: secret });
    await first.page.locator(".live-live").waitFor();
    let watches = { count: 0 };
    const second = await open("/console/live?bucket=crowded", {
      apiKey: secret,
      prepare: async (page) => {
        await page.clock.install();
        watches = watchesOf(page);
      },
    });
    await second.page.getByRole("alert").getByRole("button", { name: "Try again" }).waitFor();
    await second.page.clock.runFor(60_000);
    expect(watches.count).toBe(1);
    expect(await accessibilityProblems(second.page)).toEqual([]);
    await first.page.goto("about:blank");
    await expect
      .poll(async () => {
        const again = second.page.getByRole("button", { name: "Try again" });
        if (await again.isVisible()) await again.click();
        return second.page.locator(".live-live").isVisible();
      })
      .toBe(true);
  });

  it("says once that a bucket does not exist, and when it is deleted while it is open", async ({
    kv,
    open,
  }) => {
    await newBucket(kv, "leaving");
    const watches = { count: 0 };
    const { page } = await open("/console/buckets/leaving", {
      prepare: async (prepared) => {
        await prepared.clock.install();
        prepared.on("request", (request) => {
          if (request.url().endsWith("/Watch")) watches.count++;
        });
      },
    });
    await page.locator(".live-live").waitFor();
    await kv.deleteBucket("leaving");
    await page.getByText("Not live:").waitFor();
    const { count } = watches;
    await page.clock.runFor(60_000);
    expect(watches.count).toBe(count);
    await page.reload();
    await page.getByRole("alert").first().waitFor();
    expect(await page.getByRole("heading", { name: "leaving" }).count()).toBe(1);
    await expect.poll(() => page.getByText("There is no bucket").filter({ visible: true }).count()).toBe(1);
    await newBucket(kv, "leaving");
    await kv.bucket("leaving").put("again", 1);
    await expect
      .poll(async () => {
        await page.clock.runFor(5_000);
        return rowOf(page, "again").isVisible();
      })
      .toBe(true);
    expect(await page.getByRole("alert").count()).toBe(0);
  });
});
