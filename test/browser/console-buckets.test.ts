/** The list of buckets: search, counts and sizes that stay current, settings as people read them, explained options. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { accessibilityProblems } from "./console-page.js";
import { clientOf, consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();

/** The cells of a bucket's row. */
const cellsOf = (page: Page, name: string): Promise<string[]> =>
  page.getByRole("row", { name }).getByRole("cell").allInnerTexts();

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("keeps the counts and sizes of buckets current, and shows settings as people read them", async ({
    service,
    open,
  }) => {
    const inCounted = clientOf(service, "counted");
    await inCounted.createBucket({
      ...{ name: "orders", description: "Of the shop", ttlSeconds: 5_400, history: 5 },
      ...{ maxBytes: 17_000_000, maxValueSize: 64_000 },
    });
    const { page, problems } = await open("/console/buckets?env=counted", {
      prepare: (prepared) => prepared.clock.install(),
    });
    await expect.poll(() => cellsOf(page, "orders")).toEqual(["0", "0 B", "1h 30m", "5 revisions", "17 MB"]);
    await page.getByText("Of the shop").waitFor();
    for (const key of ["a", "b", "c"]) await inCounted.bucket("orders").put(key, "x".repeat(1_000));
    await expect
      .poll(async () => {
        await page.clock.runFor(5_000);
        return (await cellsOf(page, "orders")).slice(0, 2);
      })
      .toEqual(["3", expect.stringMatching(/^3(\.\d)? kB$/)]);
    await page.getByRole("link", { name: "orders" }).click();
    const facts = page.getByLabel("Facts of orders");
    for (const text of ["3", "17 MB", "1h 30m", "5 revisions", "64 kB"])
      await facts.getByText(text).first().waitFor();
    await inCounted.bucket("orders").delete("a");
    await expect
      .poll(async () => {
        await page.clock.runFor(5_000);
        return facts.locator("dd").first().innerText();
      })
      .toBe("2");
    expect(problems).toEqual([]);
  });

  it("finds buckets by name and description, and says when none matches", async ({ service, open }) => {
    const inFound = clientOf(service, "found");
    for (const name of ["orders", "sessions"]) await newBucket(inFound, name);
    await inFound.createBucket({ name: "flags", description: "Orders of operators" });
    const { page } = await open("/console/buckets?env=found");
    await page.getByRole("link", { name: "sessions" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("ORDERS");
    await expect.poll(() => page.locator(".row-link").allInnerTexts()).toEqual(["flags", "orders"]);
    await page.getByLabel("Search buckets").fill("nothing");
    await page.getByText("No bucket matches “nothing”.").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Clear the search" }).click();
    await page.getByRole("link", { name: "sessions" }).waitFor();
  });

  it("explains each option of a bucket and of an API key, and opens both forms by keyboard", async ({
    kv,
    open,
  }) => {
    await newBucket(kv, "first");
    for (const [path, fields] of [
      ["/console/buckets", 6],
      ["/console/api-keys", 3],
    ] as const) {
      const { page } = await open(path);
      await page.getByRole("link", { name: "first" }).or(page.getByText("There is no API key")).waitFor();
      await page.keyboard.press("n");
      const boxes = page.getByRole("dialog").getByRole("textbox");
      await boxes.first().waitFor();
      const explanations = await boxes.evaluateAll((all) =>
        all.map((box) =>
          (box.getAttribute("aria-describedby") ?? "")
            .split(" ")
            .map((id) => document.getElementById(id)?.textContent ?? "")
            .join(""),
        ),
      );
      expect(explanations.length).toBe(fields);
      expect(explanations.filter((text) => text.length < 10)).toEqual([]);
    }
  });
});
