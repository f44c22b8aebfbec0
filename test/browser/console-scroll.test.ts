/** Positions in lists and trees of many keys: the address keeps them, and opens them without loading what lies before. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { hasShown } from "./console-page.js";
import { consoleTest, newBucket, numbered, putAll, rowOf, scrollToRow, topRow } from "./console-test.js";

const it = consoleTest();

/** Counts the calls that read keys. */
function readsOf(page: Page): { count: number } {
  const reads = { count: 0 };
  page.on("request", (request) => {
    if (/\/(ListKeys|Scan)$/.test(request.url())) reads.count++;
  });
  return reads;
}

const waitForPlace = (page: Page, at: string | null): Promise<void> =>
  page.waitForURL(({ searchParams }) => searchParams.get("at") === at);

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("keeps the scroll position of a list in each order, also beyond the first page", async ({
    kv,
    open,
    service,
  }) => {
    const bucket = await newBucket(kv, "scrolled");
    await putAll(bucket, numbered(1_400));
    const { page, problems } = await open("/console/buckets/scrolled");
    for (const [sort, at] of [
      ["", "key.1200"],
      ["?sort=descending", "key.0199"],
      ["?sort=changed", undefined],
    ] as const) {
      await page.goto(`${service.url}/console/buckets/scrolled${sort}`);
      await topRow(page);
      await scrollToRow(page, 900);
      await page.getByText("1,400 keys").first().waitFor();
      await scrollToRow(page, 1_200);
      const top = await topRow(page, at);
      await waitForPlace(page, top);
      await page.reload();
      await topRow(page, top);
    }
    const { page: other } = await open("/console/buckets/scrolled?at=key.1200");
    await topRow(other, "key.1200");
    await scrollToRow(page, 0);
    await waitForPlace(page, null);
    expect(problems).toEqual([]);
  });

  it("keeps the scroll position of a tree within an open group", async ({ kv, open }) => {
    const bucket = await newBucket(kv, "branches");
    await putAll(bucket, [...numbered(300), "after.1", "before.1"]);
    const { page } = await open("/console/buckets/branches?sort=tree&open=key.");
    await page.getByRole("treeitem", { name: "0010" }).waitFor();
    await page.getByRole("treeitem", { name: "Loading more" }).waitFor({ state: "detached" });
    await scrollToRow(page, 150);
    await topRow(page, "0147");
    await waitForPlace(page, "key.0147");
    await page.reload();
    await topRow(page, "0147");
  });

  it("opens a link to a key among many with two calls, and goes on to both sides, the first and the last key", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "deep");
    await putAll(bucket, numbered(12_000));
    let reads = { count: 0 };
    const { page, problems } = await open("/console/buckets/deep?at=key.06000", {
      prepare: async (prepared) => {
        reads = readsOf(prepared);
        await Promise.resolve();
      },
    });
    await topRow(page, "key.06000");
    await page.getByText("6,000 loaded").waitFor();
    await page.locator(".live-live").waitFor();
    expect(reads.count).toBe(2);
    const place = async (): Promise<number | undefined> => (await rowOf(page, "key.06003").boundingBox())?.y;
    const before = await place();
    await bucket.put("key.05999.more", 1);
    await page.getByText("6,001 loaded").waitFor();
    // Not loaded: no row appears for it.
    await bucket.put("key.00000.more", 1);
    await bucket.put("key.06003", 2);
    await hasShown(page, "key.06003");
    expect(await place()).toBe(before);
    await page.getByText("6,001 loaded").waitFor();

    await scrollToRow(page, 0);
    await page.getByText("7,002 loaded").waitFor();
    await topRow(page, "key.01000");
    await scrollToRow(page, 0);
    await topRow(page, "key.00000");
    await rowOf(page, "key.00000.more").waitFor();
    expect(reads.count).toBe(3);

    const list = page.getByRole("listbox", { name: "Keys" });
    await list.focus();
    await page.keyboard.press("End");
    await rowOf(page, "key.11999").waitFor();
    expect(await list.getAttribute("aria-activedescendant")).toBe("key-key.11999");
    await bucket.put("key.99999", 1);
    await rowOf(page, "key.99999").waitFor();
    await page.keyboard.press("Home");
    await topRow(page, "key.00000");
    expect(await list.getAttribute("aria-activedescendant")).toBe("key-key.00000");
    expect(await list.evaluate((element) => element === document.activeElement)).toBe(true);
    expect(problems).toEqual([]);
  });

  it("opens a link to a key among many in the other order, in a tree, and where the key is gone", async ({
    kv,
    open,
  }) => {
    const bucket = await newBucket(kv, "linked");
    await putAll(bucket, ["a.1", ...numbered(12_000), "z.1"]);
    const { page: reversed } = await open("/console/buckets/linked?sort=descending&at=key.06000");
    await topRow(reversed, "key.06000");
    await rowOf(reversed, "key.05999").waitFor();
    const { page: gone } = await open("/console/buckets/linked?at=key.06000x");
    await topRow(gone, "key.06001");
    const { page: atEnd } = await open("/console/buckets/linked?at=zzz");
    await rowOf(atEnd, "z.1").waitFor();
    await atEnd.getByRole("button", { name: "First key" }).click();
    await topRow(atEnd, "a.1");

    let reads = { count: 0 };
    const { page: tree, problems } = await open("/console/buckets/linked?sort=tree&open=key.&at=key.06000", {
      prepare: async (prepared) => {
        reads = readsOf(prepared);
        await Promise.resolve();
      },
    });
    await topRow(tree, "06000");
    expect(reads.count).toBeLessThan(15);
    await tree.locator(".live-live").waitFor();
    await bucket.put("key.05999.more", 1);
    await tree.getByRole("treeitem", { name: "05999." }).waitFor({ state: "attached" });
    await topRow(tree, "06000");
    const { count } = reads;
    await scrollToRow(tree, 0);
    await expect.poll(() => topRow(tree)).toMatch(/^05/);
    expect(reads.count).toBe(count + 1);
    expect(problems).toEqual([]);
  });
});
