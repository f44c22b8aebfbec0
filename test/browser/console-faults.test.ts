/** What happens to a user's work when something else happens meanwhile: keys expire, buckets and sessions end, the service restarts or is slow. */
import type { Locator, Page } from "playwright-core";
import { describe, expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { startTestService } from "../support/service.js";
import { accessibilityProblems, hasShown, openConsole } from "./console-page.js";
import { API_KEY, consoleTest, newBucket, rowOf } from "./console-test.js";

const it = consoleTest();

const editorOf = (page: Page): Locator => page.getByRole("textbox", { name: "Value to edit" });

/** Opens the editor of the open key, and replaces its text. */
async function edit(page: Page, text: string): Promise<void> {
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await editorOf(page).fill(text);
}

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("keeps what the user typed when the key expires meanwhile, and creates the key again", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "expiring");
    await bucket.put("short", { n: 1 });
    const { page, problems } = await open("/console/buckets/expiring?key=short");
    await page.getByText('"n"').waitFor();
    await page.locator(".live-live").waitFor();
    await edit(page, '{"n": 2}');
    await bucket.put("short", { n: 0 }, { ttlSeconds: 1 });
    await page.getByText("This key was deleted or has expired since you began.").waitFor();
    expect(await editorOf(page).innerText()).toBe('{"n": 2}');
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Create the key again" }).click();
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("short")).json()).toEqual({ n: 2 });
    expect(problems).toEqual([]);
  });

  it("keeps a draft while the user looks at the history and at another key", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "drafts", 3);
    for (const key of ["first", "second"]) await bucket.put(key, { key });
    const { page } = await open("/console/buckets/drafts?key=first");
    await edit(page, '{"draft": true}');
    await page.getByRole("tab", { name: "History" }).click();
    await page.getByRole("radiogroup", { name: "Compare" }).waitFor();
    await page.getByRole("tab", { name: "Value" }).click();
    expect(await editorOf(page).innerText()).toBe('{"draft": true}');
    await rowOf(page, "second").click();
    await page.getByRole("heading", { name: "second" }).waitFor();
    await page.getByText('"second"').waitFor();
    await rowOf(page, "first").click();
    expect(await editorOf(page).innerText()).toBe('{"draft": true}');
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText('"first"').waitFor();
  });

  it("keeps what the user typed when the API key is revoked, and goes on with another one", async ({
    service,
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "revoked");
    await bucket.put("seen", { n: 1 });
    const apiKeys = createClient({ serverUrl: service.url, apiKey: API_KEY }).apiKeys();
    const { secret, id } = await apiKeys.create({
      name: "short-lived",
      scopes: [{ accesses: ["read", "write", "watch"], buckets: "*" }],
    });
    const { page, problems } = await open("/console/buckets/revoked?key=seen", { apiKey: secret });
    await page.locator(".live-live").waitFor();
    await edit(page, '{"n": 2}');
    await page.getByRole("button", { name: "New key" }).click();
    await page.getByRole("dialog").getByLabel("Key", { exact: true }).fill("typed");
    await apiKeys.revoke(id);
    await page.getByRole("alert").getByText("did not accept the API key").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByLabel("API key").fill(API_KEY);
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "New key" });
    await dialog.waitFor();
    expect(await dialog.getByLabel("Key", { exact: true }).inputValue()).toBe("typed");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await page.locator(".live-live").waitFor();
    expect(await editorOf(page).innerText()).toBe('{"n": 2}');
    await page.getByRole("button", { name: "Save" }).click();
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("seen")).json()).toEqual({ n: 2 });
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("API key").waitFor();
    expect(await page.getByText('"n"').count()).toBe(0);
    expect(problems).toEqual([]);
  });

  it("keeps an edit when the bucket is deleted, and shows the keys of one that is created in its place", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "recreated");
    for (const key of ["old-1", "old-2", "old-3"]) await bucket.put(key, 1);
    const { page } = await open("/console/buckets/recreated?key=old-1");
    await page.locator(".live-live").waitFor();
    await edit(page, "2");
    await kv.deleteBucket("recreated");
    await page.getByText("Not live:").waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".value").getByRole("alert").waitFor();
    expect(await editorOf(page).innerText()).toBe("2");
    await newBucket(kv, "recreated");
    await kv.bucket("recreated").put("new", 1);
    await page.getByRole("button", { name: "Try again" }).click();
    await rowOf(page, "new").waitFor();
    await page.locator(".live-live").waitFor();
    expect(await page.getByRole("option").allInnerTexts()).toEqual(["new"]);
  });

  it("keeps a form that is open while the service restarts, and sends it afterwards", async ({ browser }) => {
    const first = await startTestService({ "api-key": API_KEY });
    const { port, dataDir } = first;
    await createClient({ serverUrl: first.url, apiKey: API_KEY }).kv().createBucket({ name: "kept" });
    const { page } = await openConsole(browser, `${first.url}/console/buckets/kept`, API_KEY);
    await page.locator(".live-live").waitFor();
    await page.getByRole("button", { name: "New key" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Key", { exact: true }).fill("typed");
    await dialog.getByLabel("Value").fill("1");
    await first.stop();
    await dialog.getByRole("button", { name: "Create key" }).click();
    await dialog.getByText("The service can't be reached.").waitFor();
    const again = await startTestService({ "api-key": API_KEY, port: String(port), "data-dir": dataDir });
    await dialog.getByRole("button", { name: "Create key" }).click();
    await hasShown(page, "Created the key.");
    await page.getByRole("heading", { name: "typed" }).waitFor();
    await page.close();
    await again.remove();
  });

  it("lists buckets, and says what it waits for, before the service has read a large one", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "slow");
    await bucket.put("seen", 1);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const { page, problems } = await open("/console/buckets", {
      prepare: async (prepared) => {
        await prepared.clock.install();
        // Calls that need all keys of a bucket are answered late.
        await prepared.route(/\/(ListBuckets|GetBucket|ListKeys)$/, async (route) => {
          const asked = route.request().postDataBuffer()?.toString("latin1") ?? "";
          if (route.request().url().endsWith("/ListKeys") || asked.includes("values")) await held;
          await route.continue();
        });
      },
    });
    const row = page.getByRole("row", { name: "slow" });
    await row.waitFor();
    expect(await row.getByRole("cell").first().innerText()).toBe("…");
    await page.getByRole("link", { name: "slow" }).click();
    await page.getByText("being counted").waitFor();
    await page.clock.runFor(5_000);
    await page.getByRole("note").getByText("it reads the bucket once").waitFor();
    const note = await page.getByRole("note").innerText();
    expect(note).toMatch(/This one has \d+ B\..*: (\d+m )?\d+s so far/s);
    // The page's clock also runs on by itself.
    const [, minutes = "0", seconds] = /(?:(\d+)m )?(\d+)s so far/.exec(note) ?? [];
    expect(Number(minutes) * 60 + Number(seconds)).toBeGreaterThanOrEqual(5);
    expect(await accessibilityProblems(page)).toEqual([]);
    release();
    await rowOf(page, "seen").waitFor();
    await page.getByRole("note").waitFor({ state: "detached" });
    await page.getByText("being counted").waitFor({ state: "detached" });
    expect(problems).toEqual([]);
  });
});
