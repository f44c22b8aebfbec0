/** What a screen shows is in its address: a reload shows the same, and so does another tab with the link. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { consoleTest, newBucket, type Open } from "./console-test.js";

const it = consoleTest();

/** Checks the page as it is, after a reload, and in another tab with its address. */
async function keepsPlace(page: Page, open: Open, check: (page: Page) => Promise<void>): Promise<void> {
  await check(page);
  await page.reload();
  await check(page);
  const { pathname, search } = new URL(page.url());
  const { page: other } = await open(`${pathname}${search}`);
  await check(other);
}

const searchOf = (page: Page, name: string): string | null => new URL(page.url()).searchParams.get(name);
const rowsOf = (page: Page, role: "option" | "treeitem"): Promise<string[]> =>
  page.getByRole(role).allInnerTexts();

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the address of the console", () => {
  it("keeps the open groups of a tree, also of keys with unusual characters", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "groups");
    for (const key of ["a,b.c%2C.x", "a,b.d", "user.1.cart", "zone.1"]) await bucket.put(key, 1);
    const { page, problems } = await open("/console/buckets/groups?sort=tree");
    const groups = ["a,b.", "c%2C.", "user."];
    for (const name of groups) await page.getByRole("treeitem", { name, exact: true }).click();
    await keepsPlace(page, open, async (shown) => {
      await expect
        .poll(() => rowsOf(shown, "treeitem"))
        .toEqual(["a,b.", "c%2C.", "x", "d", "user.", "1.", "zone."]);
    });
    await page.getByRole("treeitem", { name: "a,b.", exact: true }).click();
    await expect.poll(() => searchOf(page, "open")).toBe("user.");
    await page.reload();
    await expect.poll(() => rowsOf(page, "treeitem")).toEqual(["a,b.", "user.", "1.", "zone."]);
    expect(problems).toEqual([]);
  });

  it("keeps the form of a value and the two revisions that are compared", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "values", 5);
    const revisions: bigint[] = [];
    for (const n of [1, 2, 3, 4]) revisions.push((await bucket.put("one", { n })).revision);
    await bucket.put("two", { n: 1 });
    const { page, problems } = await open("/console/buckets/values?key=one");
    await page.getByRole("button", { name: "Show as" }).click();
    await page.getByRole("option", { name: "Base64" }).click();
    await keepsPlace(page, open, (shown) => shown.getByText("eyJuIjo0fQ==").waitFor());

    await page.getByRole("tab", { name: "History" }).click();
    for (const [list, index] of [
      ["Compare", 2],
      ["with", 3],
    ] as const)
      await page
        .getByRole("radiogroup", { name: list, exact: true })
        .locator(".timeline-entry")
        .nth(index)
        .click();
    const sentence = `Revision ${revisions[1]} compared with ${revisions[0]}`;
    await keepsPlace(page, open, (shown) => shown.getByText(sentence).waitFor());
    await page.getByRole("option", { name: "two" }).click();
    await page.getByRole("heading", { name: "two" }).waitFor();
    expect(new URL(page.url()).search).toBe("?key=two");
    expect(problems).toEqual([]);
  });

  it("keeps the dialogs that create a key and change settings", async ({ kv, open }) => {
    await newBucket(kv, "dialogs");
    const { page, problems } = await open("/console/buckets/dialogs");
    await page.getByRole("button", { name: "New key" }).click();
    const dialog = (name: string) => async (shown: Page) => {
      await shown.getByRole("dialog", { name }).waitFor();
    };
    await keepsPlace(page, open, dialog("New key"));
    await page.keyboard.press("Escape");
    await expect.poll(() => searchOf(page, "dialog")).toBeNull();
    await page.getByRole("button", { name: "Actions of dialogs" }).click();
    await page.getByRole("menuitem", { name: "Settings" }).click();
    await keepsPlace(page, open, dialog("Settings of dialogs"));
    await page.goBack();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(problems).toEqual([]);
  });

  it("shows the complete navigation on a phone, in the order of the Tab key", async ({ open }) => {
    const { page } = await open("/console/api-keys", { viewport: { width: 390, height: 844 } });
    const navigation = page.getByRole("navigation", { name: "Console" });
    await navigation.waitFor();
    const controls = navigation.locator("a, button");
    await controls.first().focus();
    const found = [];
    for (const control of await controls.all()) {
      const { x, width } = (await control.boundingBox()) ?? { x: -1, width: 0 };
      const isFocused = await control.evaluate((element) => element === document.activeElement);
      found.push({ isFocused, isVisible: x >= 0 && width >= 24 && x + width <= 390 });
      await page.keyboard.press("Tab");
    }
    // The name, the environment, five links, the theme, and logging out.
    expect(found).toEqual(Array(9).fill({ isFocused: true, isVisible: true }));
  });
});
