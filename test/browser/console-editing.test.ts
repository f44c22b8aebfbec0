/** Editing a value: what is stored with it, what can't be saved, and two people in two tabs. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { CHROMIUM } from "../support/chromium.js";
import { accessibilityProblems, hasShown } from "./console-page.js";
import { consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();

async function edit(page: Page, text?: string): Promise<void> {
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  const editor = page.getByRole("textbox", { name: "Value to edit" });
  await editor.waitFor();
  if (text !== undefined) await editor.fill(text);
}

const save = (page: Page): Promise<void> => page.getByRole("button", { name: "Save" }).click();

describe.skipIf(CHROMIUM === undefined)("the console", () => {
  it("changes the lifetime, the metadata and the content type of a key, and removes them", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "options");
    await bucket.put("key", "text", {
      contentType: "text/plain",
      ttlSeconds: 7_200,
      metadata: { owner: "a", team: "b" },
    });
    const { page, problems } = await open("/console/buckets/options?key=key");
    await edit(page);
    expect(await page.getByLabel("Lives for").inputValue()).toMatch(/^(2h|1h 59m( \d+s)?)$/);
    expect(await page.getByLabel("Metadata").inputValue()).toBe("owner: a\nteam: b");
    await page.getByLabel("Lives for").fill("1d");
    await page.getByLabel("Metadata").fill("owner: c: d\nno colon");
    await page.getByText("“no colon” is no metadata").waitFor();
    expect(await page.getByRole("button", { name: "Save" }).getAttribute("aria-disabled")).toBe("true");
    await page.getByLabel("Metadata").fill("owner: c: d");
    await page.getByLabel("Content type").fill("text/markdown");
    expect(await accessibilityProblems(page)).toEqual([]);
    await save(page);
    await hasShown(page, "Saved the value.");
    const changed = await bucket.get("key");
    expect(changed).toMatchObject({ contentType: "text/markdown", metadata: { owner: "c: d" } });
    expect(Number(changed.expiresAt) - Number(changed.createdAt)).toBe(86_400_000);
    expect(changed.text()).toBe("text");
    await page.getByText("Expires").waitFor();

    await edit(page);
    for (const field of ["Lives for", "Metadata", "Content type"]) await page.getByLabel(field).fill("");
    await save(page);
    await page.getByText("Expires").waitFor({ state: "detached" });
    const bare = await bucket.get("key");
    expect(bare).toMatchObject({ contentType: "", metadata: {}, expiresAt: undefined });
    expect(problems).toEqual([]);
  });

  it("replaces a selected coloured text by what is typed, and undoes it", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "replaced");
    await bucket.put("key", 12_345);
    const { page, problems } = await open("/console/buckets/replaced?key=key");
    await edit(page);
    const editor = page.getByRole("textbox", { name: "Value to edit" });
    const coloured = editor.locator(".cm-line span");
    for (const typed of [678, 90, 12]) {
      await coloured.waitFor();
      await editor.fill(String(typed));
      await expect.poll(() => editor.textContent()).toBe(String(typed));
    }
    const undo = async (): Promise<string | null> => {
      await editor.press("Control+z");
      return editor.textContent();
    };
    await expect.poll(undo).toBe("12345");
    await editor.fill("12");
    await save(page);
    await page.getByText("Saved the value.").waitFor();
    expect((await bucket.get("key")).json()).toBe(12);
    expect(problems).toEqual([]);
  });

  it("does not save what is not JSON, neither by keyboard nor as a new key, unless as text", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "invalid");
    const { revision } = await bucket.put("key", { n: 1 });
    const { page, problems } = await open("/console/buckets/invalid?key=key");
    await edit(page, '{"n": 1');
    await page.getByText("This is not valid JSON").first().waitFor();
    await page.keyboard.press("Control+s");
    expect(await page.getByRole("button", { name: "Save" }).getAttribute("aria-disabled")).toBe("true");
    expect((await bucket.get("key")).revision).toBe(revision);
    await page.getByRole("button", { name: "Edit as" }).click();
    await page.getByRole("option", { name: "Text" }).click();
    await save(page);
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("key")).text()).toBe('{"n": 1');

    await page.getByRole("button", { name: "New key" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Key", { exact: true }).fill("new");
    await dialog.getByLabel("Value").fill("[1,");
    await dialog.getByText("This is not valid JSON").first().waitFor();
    await dialog.getByLabel("Key", { exact: true }).press("Enter");
    expect(await dialog.getByRole("button", { name: "Create key" }).getAttribute("aria-disabled")).toBe(
      "true",
    );
    expect(await bucket.tryGet("new")).toBeUndefined();
    await dialog.getByLabel("Value").fill("[1]");
    await dialog.getByLabel("Key", { exact: true }).press("Enter");
    await hasShown(page, "Created the key.");
    expect((await bucket.get("new")).json()).toEqual([1]);
    expect(problems).toEqual([]);
  });

  it("lets two people in two tabs edit one value, and loses the work of neither", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "shared", 5);
    await bucket.put("key", { by: "nobody" });
    const { page: first } = await open("/console/buckets/shared?key=key");
    const { page: second } = await open("/console/buckets/shared?key=key");
    for (const [page, by] of [
      [first, "first"],
      [second, "second"],
    ] as const) {
      await page.locator(".live-live").waitFor();
      await edit(page, `{"by": "${by}"}`);
    }
    await save(first);
    await hasShown(first, "Saved the value.");
    await second.getByText("Someone has changed this key since you began").waitFor();
    await save(second);
    const dialog = second.getByRole("dialog");
    await dialog.getByText('"first"').waitFor();
    await dialog.getByRole("button", { name: "Keep editing mine" }).click();
    const editor = second.getByRole("textbox", { name: "Value to edit" });
    expect(await editor.innerText()).toBe('{"by": "second"}');
    await editor.fill('{"by": "first and second"}');
    await save(second);
    await hasShown(second, "Saved the value.");
    await first.getByText('"first and second"').waitFor();

    await edit(first, '{"by": "first again"}');
    await bucket.put("key", { by: "another" });
    await first.getByText("Someone has changed this key since you began").waitFor();
    await save(first);
    await first.getByRole("dialog").getByRole("button", { name: "Discard mine, use theirs" }).click();
    await first.getByText('"another"').waitFor();
    const values = (await bucket.history("key")).map((entry) => entry.json());
    expect(values).toEqual(["nobody", "first", "first and second", "another"].map((by) => ({ by })));
  });
});
