/** Text that is composed, as by an input method for Japanese: over a selection, and undone. */
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { hasShown } from "./console-page.js";
import { consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();
/** An error of the page's policy would be in the browser's log only some of the times. */
const TIMES = 8;

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("composes text over a selection with colours, undoes and redoes it, and saves it", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "composed");
    await bucket.put("key", { colour: "red", isSet: true, count: 12 });
    const { page, problems } = await open("/console/buckets/composed?key=key");
    await page.getByText('"red"').waitFor();
    await page.keyboard.press("e");
    const editor = page.getByRole("textbox", { name: "Value to edit" });
    await editor.waitFor();
    const before = await editor.innerText();
    const input = await page.context().newCDPSession(page);
    const compose = (text: string) =>
      input.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
    for (let time = 0; time < TIMES; time++) {
      await page.keyboard.press("Control+a");
      for (const text of ["n", "に", "にh", "にほ"]) await compose(text);
      await input.send("Input.insertText", { text: "日本" });
      await expect.poll(() => editor.innerText()).toBe("日本");
      await page.keyboard.press("Control+z");
      await expect.poll(() => editor.innerText()).toBe(before);
      await page.keyboard.press("Control+y");
      await expect.poll(() => editor.innerText()).toBe("日本");
      await page.keyboard.press("Control+z");
      await expect.poll(() => editor.innerText()).toBe(before);
    }
    await page.getByText('"red"').dblclick();
    await compose("に");
    await input.send("Input.insertText", { text: "日" });
    await page.keyboard.press("Control+s");
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("key")).json()).toEqual({ colour: "日", isSet: true, count: 12 });
    expect(problems).toEqual([]);
  });
});
