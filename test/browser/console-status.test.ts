/** The status screen and the table of API keys: what they show is what the service says. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { startNatsServer } from "../support/nats-server.js";
import { startTestService } from "../support/service.js";
import { accessibilityProblems, openConsole } from "./console-page.js";
import { API_KEY, clientOf, consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();

/** What a card says: its value and its note. */
const cardOf = (page: Page, name: string): Promise<string> =>
  page.locator(".status-card").filter({ hasText: name }).locator("dd").innerText();

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("shows the health, the NATS server and its warnings, the durability, connections, watches and the disk", async ({
    service,
    kv,
    open,
  }) => {
    await newBucket(kv, "watched");
    const { page: watcher } = await open("/console/buckets/watched");
    await watcher.locator(".live-live").waitFor();
    const { page, problems } = await open("/console/status");
    await page.getByText("The service is ready").waitFor();
    expect(await cardOf(page, "Storage")).toMatch(/^NATS 2\.\d+\.\d+\s+runs with the service$/);
    expect(await cardOf(page, "Cluster")).toMatch(/^Single server/);
    expect(await cardOf(page, "Acknowledged writes")).toBe("a power failure may lose the last writes");
    await page.getByRole("note").getByText("DURABILITY is relaxed").waitFor();
    expect(await cardOf(page, "Watches")).toMatch(/^1\s+of 1 bucket$/);
    expect(Number.parseInt(await cardOf(page, "Client connections"), 10)).toBeGreaterThan(0);
    expect(await cardOf(page, "Running for")).toMatch(/^\d+s/);
    expect(await cardOf(page, "Free disk space")).toMatch(/^[\d.]+ [MGT]B\s+writes stop below/);
    expect(await accessibilityProblems(page)).toEqual([]);
    await watcher.close();
    await expect.poll(() => cardOf(page, "Watches")).toMatch(/^0\s/);
    expect((await fetch(new URL("/metrics", service.url))).status).toBeLessThan(500);
    expect(problems).toEqual([]);
  });

  it("says that the storage of a service with an outside NATS server is away, and when it is back", async ({
    browser,
  }) => {
    const nats = await startNatsServer();
    const service = await startTestService({ "api-key": API_KEY, "nats-url": nats.url });
    try {
      await clientOf(service).createBucket({ name: "kept" });
      const { page } = await openConsole(browser, `${service.url}/console/status`, API_KEY);
      await page.getByText("The service is ready").waitFor();
      expect(await cardOf(page, "Storage")).toContain("external server, NATS_URL");
      await page.getByRole("note").getByText("the service cannot tell", { exact: false }).waitFor();
      await nats.stop();
      await page.getByText("The service is not ready").waitFor();
      expect(await accessibilityProblems(page)).toEqual([]);
      await nats.start();
      await page.getByText("The service is ready").waitFor();
      await page.close();
    } finally {
      await service.remove();
      await nats.remove();
    }
  });

  it("shows the scopes of API keys, when they expire and that they have, and how long a previous secret is valid", async ({
    service,
    open,
  }) => {
    const apiKeys = createClient({ serverUrl: service.url, apiKey: API_KEY }).apiKeys();
    const scopes = [
      { accesses: ["read", "watch"], buckets: "orders-*" },
      { accesses: ["admin"], buckets: "staging/*" },
    ] as const;
    await apiKeys.create({ name: "forever", scopes });
    const rotated = await apiKeys.create({ name: "rotated", scopes, expiresInSeconds: 86_400 });
    const short = await apiKeys.create({ name: "short", scopes, expiresInSeconds: 1 });
    const { page, problems } = await open("/console/api-keys");
    const row = (name: string) => page.getByRole("row", { name });
    await row("forever").getByText("never").waitFor();
    await row("forever").getByText("Read, Watch on orders-*").waitFor();
    await row("forever").getByText("Admin on staging/*").waitFor();
    await page.getByRole("button", { name: "Actions of rotated" }).click();
    await page.getByRole("menuitem", { name: "Rotate" }).click();
    await page.getByRole("dialog").getByLabel("The previous secret stays valid for").fill("2h");
    await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
    await page.getByRole("button", { name: "Close" }).click();
    await row("rotated").getByText("previous secret until").waitFor();
    const { previousSecretExpiresAt } = await apiKeys.get(rotated.id);
    expect(Number(previousSecretExpiresAt) - Date.now()).toBeGreaterThan(7_000_000);
    await expect.poll(() => Number(short.expiresAt)).toBeLessThan(Date.now());
    await page.reload();
    await row("rotated").waitFor();
    await row("short").getByText("expired").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    expect(problems).toEqual([]);
  });
});
