/** How the console shows keys: orders, the tree, environments, keys that look like something else. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { accessibilityProblems } from "./console-page.js";
import { clientOf, consoleTest, newBucket, rowOf } from "./console-test.js";

const it = consoleTest();
const namesOf = (page: Page): Promise<string[]> => page.getByRole("option").allInnerTexts();
const chooseOrder = async (page: Page, name: string): Promise<void> => {
  await page.getByRole("button", { name: "Sort by" }).click();
  await page.getByRole("option", { name }).click();
};

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("sorts keys both ways and by their last change, keeps the order in the address, and follows changes in it", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "sorted");
    for (const key of ["b", "d", "a", "c"]) await bucket.put(key, 1);
    const { page, problems } = await open("/console/buckets/sorted");
    await page.getByText("4 keys").waitFor();
    expect(await namesOf(page)).toEqual(["a", "b", "c", "d"]);
    await chooseOrder(page, "Key, Z to A");
    await expect.poll(() => namesOf(page)).toEqual(["d", "c", "b", "a"]);
    await page.locator(".live-live").waitFor();
    await bucket.put("bb", 1);
    await expect.poll(() => namesOf(page)).toEqual(["d", "c", "bb", "b", "a"]);
    await chooseOrder(page, "Last changed first");
    await expect.poll(() => namesOf(page)).toEqual(["bb", "c", "a", "d", "b"]);
    await page.locator(".live-live").waitFor();
    await bucket.put("a", 2);
    await expect.poll(() => namesOf(page)).toEqual(["a", "bb", "c", "d", "b"]);
    await page.reload();
    await expect.poll(() => namesOf(page)).toEqual(["a", "bb", "c", "d", "b"]);
    expect(await accessibilityProblems(page)).toEqual([]);
    expect(problems).toEqual([]);
  });

  it("sorts buckets by name, keys and size", async ({ kv, open, service }) => {
    const inSorting = clientOf(service, "sorting");
    for (const [name, keys] of [
      ["few", 1],
      ["many", 3],
      ["none", 0],
    ] as const) {
      const bucket = await newBucket(inSorting, name);
      for (let key = 0; key < keys; key++) await bucket.put(String(key), key);
    }
    expect((await kv.listBuckets()).map(({ name }) => name)).not.toContain("many");
    const { page } = await open("/console/buckets?env=sorting");
    const names = (): Promise<string[]> => page.locator("tbody th").allInnerTexts();
    await expect.poll(names).toEqual(["few", "many", "none"]);
    await page.getByRole("button", { name: "Keys" }).click();
    await expect.poll(names).toEqual(["many", "few", "none"]);
    await page.getByRole("button", { name: "Keys" }).click();
    await expect.poll(names).toEqual(["none", "few", "many"]);
    await page.reload();
    await expect.poll(names).toEqual(["none", "few", "many"]);
    expect(await page.getByRole("columnheader", { name: "Keys" }).getAttribute("aria-sort")).toBe(
      "ascending",
    );
  });

  it("moves between buckets by arrows, and to the filter of the live feed by a slash", async ({
    open,
    service,
  }) => {
    const inArrows = clientOf(service, "arrows");
    for (const name of ["a", "b", "c"]) await newBucket(inArrows, name);
    const { page } = await open("/console/buckets?env=arrows");
    await page.getByRole("link", { name: "a", exact: true }).focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowUp", "Enter"]) await page.keyboard.press(key);
    await page.getByRole("heading", { name: "b", level: 1 }).waitFor();
    await page.getByRole("link", { name: "Live" }).click();
    await page.locator(".live-live").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("user.>");
    await expect.poll(() => new URL(page.url()).searchParams.get("filter")).toBe("user.>");
  });

  it("shows keys as a tree, one level at a time, by keyboard, and follows changes in it", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "tree");
    for (let order = 0; order < 100; order++) await bucket.put(`order.${order}.total`, order);
    for (const key of ["order", "user.1", "user.1.cart", "zone"]) await bucket.put(key, 1);
    const { page, problems } = await open("/console/buckets/tree?sort=tree");
    const items = (): Promise<string[]> => page.getByRole("treeitem").allInnerTexts();
    await expect.poll(items).toEqual(["order", "order.", "user.", "zone"]);
    await page.getByRole("tree").focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight"]) await page.keyboard.press(key);
    await expect.poll(items).toEqual(["order", "order.", "user.", "1", "1.", "zone"]);
    for (const key of ["ArrowRight", "Enter"]) await page.keyboard.press(key);
    await page.getByRole("heading", { name: "user.1" }).waitFor();
    expect(new URL(page.url()).search).toBe("?sort=tree&open=user.&key=user.1");
    expect(await accessibilityProblems(page)).toEqual([]);

    await bucket.put("user.2", 1);
    await bucket.put("added.now", 1);
    await expect.poll(items).toEqual(["added.", "order", "order.", "user.", "1", "1.", "2", "zone"]);
    for (const key of ["user.1", "user.1.cart", "user.2"]) await bucket.delete(key);
    await expect.poll(items).not.toContain("2");
    await page.getByLabel("Search keys").fill("order.1");
    await expect.poll(items).toEqual(["order."]);
    await page.getByRole("treeitem", { name: "order." }).click();
    // order.1, order.10 to order.19.
    await expect.poll(async () => (await items()).length).toBe(12);
    expect(problems).toEqual([]);
  });

  it("shows one environment at a time: its buckets, keys, changes and commands", async ({
    service,
    kv,
    open,
  }) => {
    const staging = clientOf(service, "staging");
    await (await newBucket(kv, "shared")).put("of-default", 1);
    const bucket = await newBucket(staging, "shared");
    await bucket.put("of-staging", 1);
    const { page, problems } = await open("/console/buckets");
    await page.getByRole("link", { name: "shared" }).waitFor();
    await page.getByRole("button", { name: "Environment" }).click();
    await page.getByRole("option", { name: "staging" }).click();
    await page.getByRole("link", { name: "shared" }).click();
    await rowOf(page, "of-staging").waitFor();
    expect(await page.getByRole("option").count()).toBe(1);
    await page.locator(".live-live").waitFor();
    await kv.bucket("shared").put("not-shown", 1);
    await bucket.put("second", 2);
    await rowOf(page, "second").waitFor();
    expect(await page.getByRole("option").count()).toBe(2);
    await page.reload();
    await rowOf(page, "second").click();
    await page.getByRole("heading", { name: "second" }).waitFor();
    expect(new URL(page.url()).searchParams.get("env")).toBe("staging");
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Environment" }).click();
    await page.getByRole("option", { name: "New environment" }).click();
    await page.getByLabel("Name").fill("fresh");
    await page.keyboard.press("Enter");
    await page.getByText("There is no bucket yet").waitFor();
    await page.getByText("X-Ironflow-Environment: fresh").first().waitFor();
    await page.getByRole("button", { name: "Environment" }).click();
    await page.getByRole("option", { name: "default" }).click();
    await page.getByRole("link", { name: "shared" }).click();
    await rowOf(page, "of-default").waitFor();
    expect(problems).toEqual([]);
  });
});
