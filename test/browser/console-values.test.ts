/** What the console does with values and buckets: lifetimes, metadata, images, purge, settings, compaction; all by keyboard. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { accessibilityProblems, hasShown } from "./console-page.js";
import { consoleTest, newBucket, rowOf } from "./console-test.js";

const it = consoleTest();

/** A red pixel. */
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==",
  "base64",
);

async function press(page: Page, ...keys: readonly string[]): Promise<void> {
  for (const key of keys) await page.keyboard.press(key);
}

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("creates, edits, saves and deletes a key by keyboard alone", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "typed", 5);
    const { page, problems } = await open("/console/buckets/typed");
    await page.getByText("The bucket has no keys yet").waitFor();
    await press(page, "n");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.type("user.1");
    await press(page, "Tab");
    await page.keyboard.type('{"n": 1}');
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("dialog").getByLabel("Key", { exact: true }).focus();
    await press(page, "Enter");
    await page.getByRole("heading", { name: "user.1" }).waitFor();
    await page.getByText('"n"').waitFor();
    await press(page, "e");
    const editor = page.getByRole("textbox", { name: "Value to edit" });
    await editor.waitFor();
    await press(page, "Control+a");
    await page.keyboard.type('{"n": 2}');
    await press(page, "Control+s");
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("user.1")).json()).toEqual({ n: 2 });
    await page.getByRole("button", { name: "Actions of the key" }).focus();
    await press(page, "Enter");
    await page.getByRole("menuitem", { name: "Delete", exact: true }).waitFor();
    await press(page, "ArrowDown", "Enter");
    await page.getByRole("alertdialog").waitFor();
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).focus();
    await press(page, "Enter");
    await hasShown(page, "Deleted the key.");
    await page.getByText("This key has no value").waitFor();
    expect(problems).toEqual([]);
  });

  it("saves what was typed in the moment before", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "quick");
    await bucket.put("user.1", { n: 1 });
    const { page } = await open("/console/buckets/quick?key=user.1");
    await page.getByText('"n"').waitFor();
    await press(page, "e");
    const editor = page.getByRole("textbox", { name: "Value to edit" });
    await editor.waitFor();
    await editor.evaluate((content) => {
      // All in one turn: nothing is rendered between.
      (content as HTMLElement).focus();
      const root = content.getRootNode() as ShadowRoot & { getSelection?: () => Selection };
      (root.getSelection?.() ?? getSelection())?.selectAllChildren(content);
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- Nothing else edits as a user does within one turn.
      document.execCommand("insertText", false, '{"n": 2}');
      const save = { key: "s", code: "KeyS", ctrlKey: true, bubbles: true, cancelable: true, composed: true };
      content.dispatchEvent(new KeyboardEvent("keydown", save));
    });
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("user.1")).json()).toEqual({ n: 2 });
  });

  it("stores a lifetime, metadata and a content type with a value, and shows them", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "lifetimes");
    const { page, problems } = await open("/console/buckets/lifetimes");
    await page.getByRole("button", { name: "New key" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Key", { exact: true }).fill("short");
    await dialog.getByLabel("Value").fill("text");
    await dialog.getByLabel("Content type").fill("text/plain");
    await dialog.getByLabel("Lives for").fill("soon");
    await dialog.getByText("Write a time such as").waitFor();
    await dialog.getByLabel("Lives for").fill("1h");
    await dialog.getByLabel("Metadata").fill("owner: checkout");
    await dialog.getByRole("button", { name: "Create key" }).click();
    await page.getByText("checkout").waitFor();
    await page.getByText("Expires").waitFor();
    const entry = await bucket.get("short");
    expect(entry).toMatchObject({ contentType: "text/plain", metadata: { owner: "checkout" } });
    expect(Number(entry.expiresAt) - Number(entry.createdAt)).toBe(3_600_000);
    await bucket.put("short", "gone soon", { ttlSeconds: 1 });
    await page.getByText("This key has no value").waitFor();
    await rowOf(page, "short").waitFor({ state: "detached" });
    expect(problems).toEqual([]);
  });

  it("shows an image, bytes as hex and base64, and edits bytes", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "bytes");
    await bucket.put("pixel", PNG, { contentType: "image/png" });
    const { page, problems } = await open("/console/buckets/bytes?key=pixel");
    const image = page.getByRole("img", { name: "Value as an image" });
    await image.waitFor();
    await expect.poll(() => image.evaluate((node) => (node as HTMLImageElement).naturalWidth)).toBe(1);
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Show as" }).click();
    await page.getByRole("option", { name: "Hex" }).click();
    await page.getByText("89 50 4e 47").waitFor();
    await press(page, "e");
    await page.getByRole("textbox", { name: "Value to edit" }).fill("00 ff");
    await press(page, "Control+s");
    await hasShown(page, "Saved the value.");
    expect([...(await bucket.get("pixel")).value]).toEqual([0, 255]);
    expect(problems).toEqual([]);
  });

  it("opens and edits a key that is only a space, and shows what reverses text as a mark", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "odd");
    await bucket.put(" ", { n: 1 });
    await bucket.put("a\u202eb", { n: 2 });
    const { page, problems } = await open("/console/buckets/odd?key=%20");
    await page.getByRole("heading", { name: "space", level: 2 }).waitFor();
    await page.getByText('"n"').waitFor();
    await press(page, "e");
    await page.getByRole("textbox", { name: "Value to edit" }).fill("3");
    await press(page, "Control+s");
    await hasShown(page, "Saved the value.");
    expect((await bucket.get(" ")).json()).toBe(3);
    await page.getByText("U+202E").click();
    await page.getByRole("heading", { name: "aU+202Eb" }).waitFor();
    expect(new URL(page.url()).searchParams.get("key")).toBe("a\u202eb");
    await page.reload();
    await page.getByRole("heading", { name: "aU+202Eb" }).waitFor();
    expect(problems).toEqual([]);
  });

  it("purges a key with its history, compacts the bucket, and changes its settings", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "managed", 3);
    for (const value of [1, 2, 3]) await bucket.put("secret", value);
    await bucket.put("kept", 1);
    const { page, problems } = await open("/console/buckets/managed?key=secret");
    await page.getByRole("button", { name: "Actions of the key" }).click();
    await page.getByRole("menuitem", { name: "Purge" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Purge" }).click();
    await hasShown(page, "Purged the key and its history.");
    const history = await bucket.history("secret");
    expect(history.map(({ operation }) => operation)).toEqual(["purge"]);
    await page.getByRole("button", { name: "Actions of managed" }).click();
    await page.getByRole("menuitem", { name: "Compact" }).click();
    await hasShown(page, "Compacted managed: removed 1 tombstone.");
    await page.getByRole("button", { name: "Actions of managed" }).click();
    await page.getByRole("menuitem", { name: "Settings" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Entries live").fill("7d");
    await dialog.getByLabel("Revisions kept").fill("5");
    await dialog.getByLabel("Largest value").fill("64 kB");
    expect(await accessibilityProblems(page)).toEqual([]);
    await dialog.getByRole("button", { name: "Save settings" }).click();
    await hasShown(page, "Saved the settings of managed.");
    await page.getByText("7d", { exact: true }).waitFor();
    await page.getByText("5 revisions").waitFor();
    expect(await kv.getBucketInfo("managed")).toMatchObject({
      ttlSeconds: 604_800,
      history: 5,
      maxValueSize: 64_000,
    });
    expect(problems).toEqual([]);
  });
});
