/** The live feed, and what live changes leave as it is: focus, selection, scroll positions. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { accessibilityProblems, hasShown } from "./console-page.js";
import { consoleTest, newBucket, numbered, putAll, rowOf, scrollToRow, topRow } from "./console-test.js";

const it = consoleTest();

/** Each row of the feed: its operation and its key. */
const eventsOf = (page: Page): Promise<string[]> =>
  page
    .locator(".event-row")
    .evaluateAll((rows) =>
      rows.map((row) =>
        [".badge", ".key-text"].map((part) => row.querySelector(part)?.textContent ?? "").join(" "),
      ),
    );

/** What must not change while others write: which element has the focus, the active row, the selection, and where a row is. */
async function placeOf(page: Page, key: string) {
  const state = await page.evaluate(() => {
    const { activeElement } = document;
    return {
      focus: activeElement?.getAttribute("aria-label"),
      active: activeElement?.getAttribute("aria-activedescendant"),
    };
  });
  const selected = await page.getByRole("region", { name: "Selected keys" }).innerText();
  return { ...state, selected, y: (await rowOf(page, key).boundingBox())?.y };
}

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("follows the changes that match a filter, shows what each wrote, pauses and resumes", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "feed");
    const { page, problems } = await open("/console/live?bucket=feed&filter=user.%3E");
    await page.getByText("No change yet").waitFor();
    await page.locator(".live-live").waitFor();
    await bucket.put("other", 1);
    await bucket.put("user.1", { name: "Ann" });
    await expect.poll(() => eventsOf(page)).toEqual(["put user.1"]);
    await page.getByRole("option").click();
    const event = page.getByRole("region", { name: "Event" });
    await event.getByText('"Ann"').waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);

    await page.getByRole("button", { name: "Pause" }).focus();
    await page.keyboard.press("Enter");
    await bucket.put("user.2", 2);
    await bucket.delete("user.1");
    await page.getByText("Paused, 2 waiting").waitFor();
    expect(await eventsOf(page)).toEqual(["put user.1"]);
    await page.keyboard.press("Enter");
    await expect.poll(() => eventsOf(page)).toEqual(["delete user.1", "put user.2", "put user.1"]);
    await event.getByText('"Ann"').waitFor();
    // Each change is in the chart, those of the pause too.
    const bars = page.getByRole("img", { name: /^Changes in each of the last 60 seconds/ }).locator("rect");
    const heights = await bars.evaluateAll((all) => all.map((bar) => Number(bar.getAttribute("height"))));
    expect(heights.length).toBe(60);
    expect(Math.max(...heights)).toBeGreaterThan(1);
    expect(await accessibilityProblems(page)).toEqual([]);

    await bucket.put("user.1", { name: "Bea" });
    await event.getByRole("link", { name: "Open key" }).click();
    await page.getByRole("heading", { name: "user.1" }).waitFor();
    await page.getByText('"Bea"').waitFor();
    await page.goBack();
    await page.locator(".live-live").waitFor();
    expect(new URL(page.url()).search).toBe("?bucket=feed&filter=user.%3E");
    expect(problems).toEqual([]);
  });

  it("keeps an older event of the feed in place while others arrive, goes through events by keyboard, and clears them", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "busy");
    const { page, problems } = await open("/console/live?bucket=busy");
    await page.locator(".live-live").waitFor();
    await putAll(bucket, numbered(100));
    await expect
      .poll(() => page.locator(".rows-list").evaluate((list) => list.clientHeight))
      .toBeGreaterThanOrEqual(100 * 34);
    await scrollToRow(page, 50);
    const text = await topRow(page);
    const [key = ""] = /key\.\d{4}/.exec(text) ?? [];
    const row = page.locator(".event-row").filter({ hasText: key });
    const y = (await row.boundingBox())?.y;
    const height = await page.locator(".rows-list").evaluate((list) => list.clientHeight);
    await Promise.all(["later.1", "later.2", "later.3"].map((later) => bucket.put(later, 1)));
    await expect
      .poll(() => page.locator(".rows-list").evaluate((list) => list.clientHeight))
      .toBe(height + 3 * 34);
    expect((await row.boundingBox())?.y).toBe(y);
    await scrollToRow(page, 0);
    await expect
      .poll(async () => (await eventsOf(page)).slice(0, 3).sort())
      .toEqual(["later.1", "later.2", "later.3"].map((key) => `put ${key}`));
    await page.getByRole("listbox", { name: "Changes, newest first" }).focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowUp"]) await page.keyboard.press(key);
    const [newest] = await eventsOf(page);
    await page
      .getByRole("region", { name: "Event" })
      .getByText(newest?.replace("put ", "") ?? "")
      .waitFor();
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByText("No change yet").waitFor();
    expect(problems).toEqual([]);
  });

  it("keeps focus, selection and scroll position of a list while keys change, while it is paused, and when it goes on", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "steady");
    await putAll(bucket, numbered(300));
    const { page, problems } = await open("/console/buckets/steady");
    await page.getByText("300 keys").waitFor();
    await page.locator(".live-live").waitFor();
    await rowOf(page, "key.0001").locator(".row-check").click();
    await rowOf(page, "key.0003").click({ modifiers: ["Control"] });
    await scrollToRow(page, 100);
    await rowOf(page, "key.0105").locator(".row-check").click();
    await page.keyboard.press("ArrowDown");
    const before = await placeOf(page, "key.0106");
    expect(before).toMatchObject({ focus: "Keys", active: "key-key.0106" });
    expect(before.selected).toContain("3 keys selected");

    await bucket.put("key.0106", 2);
    await hasShown(page, "key.0106");
    await bucket.put("a", 1);
    await page.getByText("301 keys").waitFor();
    await bucket.delete("key.0000");
    await page.getByText("300 keys").waitFor();
    expect(await placeOf(page, "key.0106")).toEqual(before);

    await page.getByRole("button", { name: "Pause live changes" }).click();
    await page.getByText("Paused, 0 waiting").waitFor();
    const onButton = { ...before, active: null };
    await Promise.all(["b", "c", "d"].map((key) => bucket.put(key, 1)));
    await bucket.delete("key.0002");
    await page.getByText("Paused, 4 waiting").waitFor();
    expect(await placeOf(page, "key.0106")).toEqual({ ...onButton, focus: "Resume live changes" });
    await page.keyboard.press("Enter");
    await page.getByText("302 keys").waitFor();
    expect(await placeOf(page, "key.0106")).toEqual({ ...onButton, focus: "Pause live changes" });
    await page.getByRole("listbox", { name: "Keys" }).focus();
    expect(await placeOf(page, "key.0106")).toEqual(before);
    expect(problems).toEqual([]);
  });

  it("keeps the rows of a tree in place while groups and keys come and go above them", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "rooted");
    await putAll(bucket, numbered(150));
    const { page, problems } = await open("/console/buckets/rooted?sort=tree&open=key.");
    await page.locator(".live-live").waitFor();
    await page.getByRole("treeitem", { name: "0010" }).waitFor();
    await scrollToRow(page, 100);
    const row = page.getByRole("treeitem", { name: "0105" });
    const before = (await row.boundingBox())?.y;
    await bucket.put("above.1", 1);
    await bucket.put("key.0000.more", 1);
    await bucket.delete("key.0001");
    await bucket.put("key.0105", 2);
    await hasShown(page, "0105");
    await page.locator(".row-put").waitFor({ state: "detached" });
    expect((await row.boundingBox())?.y).toBe(before);
    await scrollToRow(page, 0);
    await expect
      .poll(async () => (await page.getByRole("treeitem").allInnerTexts()).slice(0, 5))
      .toEqual(["above.", "key.", "0000", "0000.", "0002"]);
    expect(problems).toEqual([]);
  });
});
