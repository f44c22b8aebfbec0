/** Keys and values at the limits: odd characters, 512 bytes, a mebibyte. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { hasShown } from "./console-page.js";
import { consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();

const LONG_KEY = "k".repeat(512);
/** Keys, and how the console shows them. */
const ODD_KEYS: readonly (readonly [key: string, shown: string])[] = [
  ["100%", "100%"],
  ["a%2Fb", "a%2Fb"],
  ["a/../b", "a/../b"],
  ["a  b", "a  b"],
  ["?key=1&find=#2", "?key=1&find=#2"],
  ["<b>bold</b>", "<b>bold</b>"],
  ["\u65e5\u672c\u8a9e", "\u65e5\u672c\u8a9e"],
  ["\u{1f600}", "\u{1f600}"],
  ["a\ufe0fb", "aU+FE0Fb"],
  ["a\u2800b", "aU+2800b"],
  ["\ufeffmarked", "U+FEFFmarked"],
  ["  ", "spacespace"],
  [LONG_KEY, LONG_KEY],
];

const overflowOf = (page: Page): Promise<number> =>
  page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("opens, edits and links keys with odd characters, and keys of 512 bytes, on a desktop and on a phone", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "odd");
    for (const [key] of ODD_KEYS) await bucket.put(key, { key });
    const { page, problems } = await open("/console/buckets/odd");
    await page.getByText(`${ODD_KEYS.length} keys`).waitFor();
    for (const [key, shown] of ODD_KEYS) {
      await page.getByRole("option").getByText(shown, { exact: true }).click();
      const heading = page.locator(".value-key");
      await expect.poll(() => heading.textContent()).toBe(shown);
      await page.getByText('"key"').waitFor();
      expect(new URL(page.url()).searchParams.get("key")).toBe(key);
    }
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await overflowOf(page)).toBe(0);
    await page.keyboard.press("e");
    await page.getByRole("textbox", { name: "Value to edit" }).fill("1");
    await page.getByRole("button", { name: "Save" }).click();
    await hasShown(page, "Saved the value.");
    expect((await bucket.get(LONG_KEY)).json()).toBe(1);
    await page.reload();
    await expect.poll(() => page.locator(".value-key").textContent()).toBe(LONG_KEY);
    expect(problems).toEqual([]);
  });

  it("shows, edits and saves a value of 1 MiB while others change the key", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "large", 2);
    const items = Array.from({ length: 20_000 }, (_, n) => ({ n, text: "x".repeat(24) }));
    const start = JSON.stringify(items).slice(0, -1);
    /** A mebibyte but for the two bytes that the user adds. */
    const valueOf = (last: string): string =>
      `${start},${JSON.stringify(last.padEnd(1_048_574 - start.length - 4, "y"))}]`;
    await bucket.put("value", valueOf("first"), { contentType: "application/json" });
    expect((await bucket.get("value")).value.length).toBe(1_048_574);
    const { page, problems } = await open("/console/buckets/large?key=value");
    await page.getByText('"n"').first().waitFor();
    await page.locator(".live-live").waitFor();
    await page.keyboard.press("e");
    await page.getByRole("textbox", { name: "Value to edit" }).waitFor();
    for (const key of ["Control+Home", "ArrowRight", "0", ","]) await page.keyboard.press(key);
    await bucket.put("value", valueOf("second"), { contentType: "application/json" });
    await page.getByText("Someone has changed this key since you began").waitFor();
    await page.keyboard.press("Control+s");
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Someone changed this value").waitFor();
    await dialog.getByText("yyy").first().waitFor();
    await dialog.getByRole("button", { name: "Overwrite theirs" }).click();
    await hasShown(page, "Saved the value.");
    // The layout that the editor adds for people is not stored.
    const saved = (await bucket.get("value")).text();
    expect(saved.length).toBe(1_048_576);
    expect(saved).toBe(`[0,${valueOf("first").slice(1)}`);
    expect(problems).toEqual([]);
  });
});
