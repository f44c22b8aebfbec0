/** Edges that users meet: groups that become empty, line ends, keys that resemble each other, buckets that are recreated, shortcuts in menus. */
import type { Locator, Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { hasShown } from "./console-page.js";
import { consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();
const itemsOf = (page: Page): Promise<string[]> => page.getByRole("treeitem").allInnerTexts();
const editorOf = (page: Page): Locator => page.getByRole("textbox", { name: "Value to edit" });

/** Opens the editor of the open key by keyboard. */
async function edit(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Edit", exact: true }).waitFor();
  await page.keyboard.press("e");
  await editorOf(page).waitFor();
}

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("removes a closed group of the tree with its last key, and keeps one that has others", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "closed");
    for (const key of ["a.1", "b.1", "b.2", "c.1.x", "c.2", "d"]) await bucket.put(key, 1);
    const { page, problems } = await open("/console/buckets/closed?sort=tree&open=c.");
    await expect.poll(() => itemsOf(page)).toEqual(["a.", "b.", "c.", "1.", "2", "d"]);
    await page.locator(".live-live").waitFor();
    for (const key of ["a.1", "b.1", "c.1.x"]) await bucket.delete(key);
    await expect.poll(() => itemsOf(page)).toEqual(["b.", "c.", "2", "d"]);
    await bucket.delete("b.2");
    await bucket.put("a.2", 1);
    await expect.poll(() => itemsOf(page)).toEqual(["a.", "c.", "2", "d"]);
    await page.getByRole("treeitem", { name: "c." }).click();
    await bucket.delete("c.2");
    await expect.poll(() => itemsOf(page)).toEqual(["a.", "d"]);
    await page.getByRole("treeitem", { name: "a." }).click();
    await expect.poll(() => itemsOf(page)).toEqual(["a.", "2", "d"]);
    expect(problems).toEqual([]);
  });

  it.for([
    ["two characters at each end of a line", "one\r\ntwo\r\nthree", "zone\r\ntwo\r\nthree"],
    ["different ends of lines", "one\r\ntwo\nthree\rfour", "zone\r\ntwo\nthree\rfour"],
  ] as const)("keeps %s of a text that is edited", async ([, before, after], { kv, open }) => {
    const bucket = await newBucket(kv, "lines");
    await bucket.put("text", before, { contentType: "text/plain" });
    const { page, problems } = await open("/console/buckets/lines?key=text");
    await edit(page);
    await page.keyboard.press("Control+Home");
    await page.keyboard.type("z");
    await page.keyboard.press("Control+s");
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("text")).text()).toBe(after);
    expect(problems).toEqual([]);
  });

  it("keeps what the user types while a value is being saved", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "saving");
    await bucket.put("text", "one", { contentType: "text/plain" });
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const { page, problems } = await open("/console/buckets/saving?key=text", {
      prepare: async (prepared) => {
        await prepared.route(/\/Put$/, async (route) => {
          await held;
          await route.continue();
        });
      },
    });
    await edit(page);
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" two");
    await page.keyboard.press("Control+s");
    await page.keyboard.type(" three");
    release();
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("text")).text()).toBe("one two");
    expect(await editorOf(page).innerText()).toBe("one two three");
    await page.keyboard.press("Control+s");
    await editorOf(page).waitFor({ state: "detached" });
    expect((await bucket.get("text")).text()).toBe("one two three");
    expect(problems).toEqual([]);
  });

  it("moves in a tree through keys whose names resemble each other", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "alike");
    for (const key of ["a b", "a_20b", "c"]) await bucket.put(key, 1);
    const { page } = await open("/console/buckets/alike?sort=tree");
    await expect.poll(() => itemsOf(page)).toEqual(["a b", "a_20b", "c"]);
    await page.getByRole("tree").focus();
    for (const key of ["ArrowDown", "ArrowDown", "Enter"]) await page.keyboard.press(key);
    await page.getByRole("heading", { name: "c", exact: true, level: 2 }).waitFor();
  });

  it("shows each change of a bucket that is recreated while its changes are shown", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "feed");
    const { page, problems } = await open("/console/live?bucket=feed");
    await page.locator(".live-live").waitFor();
    for (const key of ["old-1", "old-2"]) await bucket.put(key, 1);
    const keys = (): Promise<string[]> => page.getByRole("option").locator(".key-text").allInnerTexts();
    await expect.poll(keys).toEqual(["old-2", "old-1"]);
    await kv.deleteBucket("feed");
    const again = page.getByRole("button", { name: "Try again" });
    await again.waitFor();
    const recreated = await newBucket(kv, "feed");
    await again.click();
    await page.locator(".live-live").waitFor();
    for (const key of ["new-1", "new-2"]) await recreated.put(key, 1);
    await expect.poll(keys).toEqual(["new-2", "new-1", "old-2", "old-1"]);
    const ids = await page.getByRole("option").evaluateAll((rows) => rows.map(({ id }) => id));
    expect(new Set(ids).size).toBe(4);
    expect(problems).toEqual([]);
  });

  it("shows the keys of the new bucket when one is recreated while the tab is hidden", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "hidden");
    await bucket.put("old", 1);
    const { page } = await open("/console/buckets/hidden", {
      prepare: (prepared) => prepared.clock.install(),
    });
    await page.locator(".live-live").waitFor();
    const setHidden = (isHidden: boolean): Promise<void> =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { value, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    await setHidden(true);
    await page.clock.runFor(21_000);
    await page.locator(".live-hidden").waitFor();
    const recreated = await newBucket(kv, "hidden");
    for (const key of ["new-1", "new-2", "new-3"]) await recreated.put(key, 1);
    await setHidden(false);
    await expect.poll(() => page.getByRole("option").allInnerTexts()).toEqual(["new-1", "new-2", "new-3"]);
  });

  it("shows a conflict where the value to save is of a bucket that was recreated, with the same revision", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "replaced");
    await bucket.put("key", { of: "the first bucket" });
    const { page } = await open("/console/buckets/replaced?key=key");
    await edit(page);
    await editorOf(page).fill('{"mine": true}');
    const recreated = await newBucket(kv, "replaced");
    await recreated.put("key", { of: "the second bucket" });
    await page.getByRole("button", { name: "Save" }).click();
    const dialog = page.getByRole("dialog", { name: "Someone changed this value" });
    await dialog.getByText('"the second bucket"').waitFor();
    expect((await recreated.get("key")).json()).toEqual({ of: "the second bucket" });
    await dialog.getByRole("button", { name: "Overwrite theirs" }).click();
    await editorOf(page).waitFor({ state: "detached" });
    expect((await recreated.get("key")).json()).toEqual({ mine: true });
  });

  it("runs no shortcut of the screen while a menu or a list of choices is open", async ({ kv, open }) => {
    await (await newBucket(kv, "menus")).put("key", 1);
    const { page } = await open("/console/buckets/menus?key=key");
    await page.getByRole("button", { name: "Edit", exact: true }).waitFor();
    for (const [button, popup] of [
      ["Actions of the key", "menu"],
      ["Sort by", "listbox"],
    ] as const) {
      await page.getByRole("button", { name: button }).click();
      await page.getByRole(popup).last().waitFor();
      for (const key of ["n", "e", "/"]) await page.keyboard.press(key);
      expect(await page.getByRole("dialog", { name: "New key" }).count()).toBe(0);
      expect(await editorOf(page).count()).toBe(0);
      await page.keyboard.press("Escape");
    }
  });

  it("follows the address of the live feed where another link changes it", async ({ kv, open }) => {
    await newBucket(kv, "linked");
    const { page } = await open("/console/live?bucket=linked&filter=user.>", {
      prepare: (prepared) => prepared.clock.install(),
    });
    const filter = page.getByLabel("Filter");
    await expect.poll(() => filter.inputValue()).toBe("user.>");
    await page.getByRole("link", { name: "Live" }).click();
    await expect.poll(() => filter.inputValue()).toBe("");
    await page.clock.runFor(2_000);
    expect(new URL(page.url()).searchParams.get("filter")).toBeNull();
    expect(await filter.inputValue()).toBe("");
  });

  it("lets a user leave the editor by keyboard, and says how", async ({ kv, open }) => {
    await (await newBucket(kv, "leaving")).put("key", 1);
    const { page } = await open("/console/buckets/leaving?key=key");
    await edit(page);
    expect(await editorOf(page).getAttribute("aria-description")).toMatch(/Escape, then Tab/);
    for (const key of ["Escape", "Tab"]) await page.keyboard.press(key);
    expect(
      await page.getByLabel("Content type").evaluate((element) => element === document.activeElement),
    ).toBe(true);
  });
});
