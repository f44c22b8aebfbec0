/** Selecting and deleting many keys, with the mouse and by keyboard. */
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { accessibilityProblems, hasShown } from "./console-page.js";
import { consoleTest, newBucket, numbered, putAll, rowOf } from "./console-test.js";

const it = consoleTest();

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("selects ranges and single keys, and deletes them after their number was typed", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "selected");
    await putAll(bucket, numbered(200));
    const { page, problems } = await open("/console/buckets/selected");
    await page.getByText("200 keys").waitFor();
    const selection = page.getByRole("region", { name: "Selected keys" });
    await rowOf(page, "key.0002").locator(".row-check").click();
    await rowOf(page, "key.0005").click({ modifiers: ["Shift"] });
    await selection.getByText("4 keys selected").waitFor();
    await rowOf(page, "key.0003").click({ modifiers: ["Control"] });
    await selection.getByText("3 keys selected").waitFor();
    await selection.getByRole("button", { name: "Clear" }).click();
    await selection.waitFor({ state: "detached" });

    await page.getByRole("listbox", { name: "Keys" }).focus();
    for (const key of ["Home", "ArrowDown", " ", "Shift+ArrowDown", "Shift+ArrowDown"])
      await page.keyboard.press(key);
    await selection.getByText("3 keys selected").waitFor();
    await page.keyboard.press("Escape");
    await selection.waitFor({ state: "detached" });
    for (const key of ["Home", "ArrowDown", "Shift+End"]) await page.keyboard.press(key);
    await selection.getByText("199 keys selected").waitFor();

    await selection.getByRole("button", { name: "Delete" }).click();
    const dialog = page.getByRole("alertdialog");
    await dialog.getByText("and 194 more").waitFor();
    const confirm = dialog.getByRole("button", { name: "Delete" });
    expect(await confirm.getAttribute("aria-disabled")).toBe("true");
    expect(await accessibilityProblems(page)).toEqual([]);
    await dialog.getByRole("textbox").fill("199");
    await page.keyboard.press("Enter");
    await hasShown(page, "Deleted 199 keys.");
    await page.getByText("1 key", { exact: true }).waitFor();
    expect(await bucket.listKeys()).toEqual(["key.0000"]);
    await selection.waitFor({ state: "detached" });
    expect(problems).toEqual([]);
  });

  it("deletes all keys that match the search, also those that are not loaded, and no others", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "matched");
    await putAll(bucket, [...numbered(1_500), "kept.1", "ke"]);
    const { page, problems } = await open("/console/buckets/matched?find=key.");
    await page.getByText("1,000 loaded").waitFor();
    await page.getByRole("button", { name: "Delete all keys that match" }).click();
    const dialog = page.getByRole("alertdialog");
    expect(await accessibilityProblems(page)).toEqual([]);
    await dialog.getByRole("textbox").fill("key.");
    await dialog.getByRole("button", { name: "Delete all" }).click();
    await hasShown(page, "Deleted 1,500 keys.");
    expect(await bucket.listKeys()).toEqual(["ke", "kept.1"]);
    await page.getByText("No key matches").waitFor();
    expect(problems).toEqual([]);
  });

  it("says what stopped the deletion of many, and which keys are left", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "stopped");
    await putAll(bucket, numbered(20));
    const { page } = await open("/console/buckets/stopped", {
      prepare: async (prepared) => {
        let calls = 0;
        await prepared.route(/\/Delete$/, (route) =>
          ++calls > 10
            ? route.fulfill({
                status: 429,
                contentType: "application/json",
                body: JSON.stringify({ code: "resource_exhausted", message: "Too many calls." }),
              })
            : route.continue(),
        );
      },
    });
    await page.getByText("20 keys").waitFor();
    await page.getByRole("listbox", { name: "Keys" }).focus();
    await page.keyboard.press("Control+a");
    await page.getByRole("region", { name: "Selected keys" }).getByRole("button", { name: "Delete" }).click();
    const dialog = page.getByRole("alertdialog");
    await dialog.getByRole("button", { name: "Delete" }).click();
    await dialog.getByText("Too many calls.").waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("10 keys", { exact: true }).waitFor();
    expect((await bucket.listKeys()).length).toBe(10);
  });
});
