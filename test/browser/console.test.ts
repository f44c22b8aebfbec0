/** The web console in a real browser, against a real service. Needs Chromium and the built console. */
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient, type Bucket } from "@ironflow-kv/client";
import { CHROMIUM, launchChromium } from "../support/chromium.js";
import { startTestService, type TestService } from "../support/service.js";
import { accessibilityProblems, hasShown, openConsole } from "./console-page.js";

const API_KEY = "a-key-for-the-console";

describe.skipIf(CHROMIUM === undefined)("the console", () => {
  let service: TestService;
  let browser: Browser;
  let kv: ReturnType<ReturnType<typeof createClient>["kv"]>;
  beforeAll(async () => {
    service = await startTestService({ "api-key": API_KEY });
    kv = createClient({ serverUrl: service.url, apiKey: API_KEY }).kv();
    browser = await launchChromium();
  }, 60_000);
  afterAll(async () => {
    await browser.close();
    await service.remove();
  });

  const open = (path: string, apiKey: string | undefined = API_KEY) =>
    openConsole(browser, `${service.url}${path}`, apiKey);
  const row = (page: Page, key: string): Locator =>
    page.getByRole("option").filter({ hasText: new RegExp(`^${key}$`) });

  async function newBucket(name: string, history = 1): Promise<Bucket> {
    await kv.createBucket({ name, history });
    return kv.bucket(name);
  }

  it("asks for a key, says when it is wrong, and opens the screen that needed it; logging out forgets the key", async () => {
    const { page } = await openConsole(browser, `${service.url}/console/buckets?find=zzz`, undefined);
    const field = page.getByLabel("API key");
    await field.fill("wrong");
    await field.press("Enter");
    await page.getByRole("alert").getByText("did not accept the API key").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    await field.fill(API_KEY);
    await field.press("Enter");
    await page.getByRole("heading", { name: "Buckets", level: 1 }).waitFor();
    expect(new URL(page.url()).search).toBe("?find=zzz");
    await page.getByRole("button", { name: "Log out" }).click();
    await field.waitFor();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
    await page.close();
  });

  it("teaches the first bucket, creates, changes and deletes it", async () => {
    const { page, problems } = await open("/");
    await page.getByText("There is no bucket yet").waitFor();
    await page.getByText("curl -X POST").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.keyboard.press("n");
    await page.getByLabel("Name").fill("orders");
    await page.getByLabel("Entries live").fill("1h 30m");
    await page.getByLabel("Largest bucket").fill("17 MB");
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Create bucket" }).click();
    await page.getByRole("heading", { name: "orders", level: 1 }).waitFor();
    await page.getByText("1h 30m").waitFor();
    expect(await kv.getBucketInfo("orders")).toMatchObject({ ttlSeconds: 5_400, maxBytes: 17_000_000 });
    await page.getByRole("button", { name: "Actions of orders" }).click();
    await page.getByRole("menuitem", { name: "Delete bucket" }).click();
    const dialog = page.getByRole("alertdialog");
    expect(await dialog.getByRole("button", { name: "Delete bucket" }).getAttribute("aria-disabled")).toBe(
      "true",
    );
    await dialog.getByRole("textbox").fill("orders");
    await dialog.getByRole("button", { name: "Delete bucket" }).click();
    await page.getByText("There is no bucket yet").waitFor();
    expect(problems).toEqual([]);
    await page.close();
  });

  it("follows a bucket, keeps the place and the selection, pauses and resumes", async () => {
    const bucket = await newBucket("followed");
    for (let number = 100; number < 200; number++) await bucket.put(`key-${number}`, number);
    const { page, problems } = await open("/console/buckets/followed");
    await row(page, "key-100").locator(".row-check").click();
    await page.locator(".live-live").waitFor();
    const rows = page.locator(".rows");
    await rows.evaluate((element) => (element.scrollTop = 40 * 34));
    await row(page, "key-140").waitFor();
    const placeOf = async (key: string): Promise<number | undefined> =>
      (await row(page, key).boundingBox())?.y;
    const before = await placeOf("key-142");
    await bucket.put("key-000", 0);
    await page.getByText("101 keys").waitFor();
    expect(await placeOf("key-142")).toBe(before);
    await page.getByText("1 key selected").waitFor();
    await bucket.delete("key-143");
    await page.getByText("100 keys").waitFor();
    await row(page, "key-143").waitFor({ state: "detached" });
    expect(await placeOf("key-142")).toBe(before);
    await page.getByRole("button", { name: "Pause live changes" }).click();
    await bucket.put("key-001", 0);
    await page.getByText("Paused, 1 waiting").waitFor();
    await page.getByRole("button", { name: "Resume live changes" }).click();
    await page.getByText("101 keys").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    expect(problems).toEqual([]);
    await page.close();
  });

  it("moves nothing where the user asked for reduced motion", async () => {
    await newBucket("calm");
    const { page } = await open("/console/buckets/calm");
    await page.locator(".live-live").waitFor();
    const changedRowMoves = (): Promise<number> =>
      page.evaluate(() => {
        const changed = document.createElement("div");
        changed.className = "row row-put";
        document.body.append(changed);
        const { animationName, animationDuration } = getComputedStyle(changed);
        changed.remove();
        return animationName === "none" ? 0 : Number.parseFloat(animationDuration);
      });
    expect(await changedRowMoves()).toBeGreaterThan(0.1);
    await page.emulateMedia({ reducedMotion: "reduce" });
    expect(await changedRowMoves()).toBeLessThan(0.001);
    await page.close();
  });

  it("finds keys as the user types, opens them by keyboard, and deletes many", async () => {
    const bucket = await newBucket("found");
    for (const key of ["user.1", "user.2", "user.2.cart", "order.1", " ", "a\u202eb"])
      await bucket.put(key, { key });
    const { page, problems } = await open("/console/buckets/found");
    await page.getByText("6 keys").waitFor();
    expect(await page.getByRole("option").first().innerText()).toBe("space");
    await page.getByText("U+202E").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("user.2");
    await page.getByText("2 keys").waitFor();
    await page.getByLabel("Search keys").fill("nothing");
    await page.getByText("No key matches").waitFor();
    await page.getByLabel("Search keys").fill("user.*");
    await page.getByText("2 keys").waitFor();
    await page.getByRole("listbox", { name: "Keys" }).focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "user.2" }).waitFor();
    await page.getByText('"key"').waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "user.2" }).waitFor();
    await page.getByRole("listbox", { name: "Keys" }).focus();
    await page.keyboard.press("Control+a");
    await page.getByRole("region", { name: "Selected keys" }).getByRole("button", { name: "Delete" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await hasShown(page, "Deleted 2 keys.");
    await expect.poll(async () => (await kv.getBucketInfo("found")).values).toBe(4);
    expect(problems).toEqual([]);
    await page.close();
  });

  it("shows both versions when two people edit one value, and saves what the user decides", async () => {
    const bucket = await newBucket("edited", 5);
    await bucket.put("shared", { colour: "red" });
    const { page, problems } = await open("/console/buckets/edited?key=shared");
    await page.getByText('"red"').waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Edit", exact: true }).click();
    const editor = page.getByRole("textbox", { name: "Value to edit" });
    await editor.fill('{"colour": "green"');
    await page.getByText("This is not valid JSON").first().waitFor();
    await editor.fill('{"colour": "green"}');
    await bucket.put("shared", { colour: "blue" });
    await page.getByText("Someone has changed this key since you began").waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Someone changed this value").waitFor();
    await dialog.getByText('"blue"').waitFor();
    await dialog.getByText('"green"').waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    expect((await bucket.get("shared")).json()).toEqual({ colour: "blue" });
    await dialog.getByRole("button", { name: "Overwrite theirs" }).click();
    await hasShown(page, "Saved the value.");
    expect((await bucket.get("shared")).json()).toEqual({ colour: "green" });
    expect(problems).toEqual([]);
    await page.close();
  });

  it("compares any two revisions and restores one", async () => {
    const bucket = await newBucket("restored", 5);
    for (const stock of [1, 2, 3]) await bucket.put("item", { stock });
    const { page, problems } = await open("/console/buckets/restored?key=item&view=history");
    const [newer, older] = [
      page.getByRole("radiogroup", { name: "Compare" }),
      page.getByRole("radiogroup", { name: "with" }),
    ];
    await newer.locator(".timeline-entry").nth(2).click();
    await older.locator(".timeline-entry").nth(0).click();
    await page.getByText("compared with").waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Restore revision 1" }).click();
    await hasShown(page, "Restored revision 1 as revision 4.");
    expect((await bucket.get("item")).json()).toEqual({ stock: 1 });
    expect(problems).toEqual([]);
    await page.close();
  });

  it("keeps what it shows while the service is away, says so, and follows again afterwards", async () => {
    const other = await startTestService({ "api-key": API_KEY });
    const { port, dataDir } = other;
    const before = createClient({ serverUrl: other.url, apiKey: API_KEY }).kv();
    await before.createBucket({ name: "kept" });
    await before.bucket("kept").put("first", 1);
    const { page } = await openConsole(browser, `${other.url}/console/buckets/kept`, API_KEY);
    await row(page, "first").waitFor();
    await page.locator(".live-live").waitFor();
    await other.stop();
    await page.getByRole("alert").getByText("The service can't be reached").waitFor();
    await row(page, "first").waitFor();
    const styleOf = (property: "filter" | "opacity"): Promise<string> =>
      page.locator("#main").evaluate((main, name) => getComputedStyle(main)[name], property);
    await expect.poll(() => styleOf("opacity")).toBe("0.7");
    expect(await styleOf("filter")).toContain("grayscale");
    const again = await startTestService({ "api-key": API_KEY, port: String(port), "data-dir": dataDir });
    await createClient({ serverUrl: again.url, apiKey: API_KEY }).kv().bucket("kept").put("second", 2);
    await row(page, "second").waitFor({ timeout: 60_000 });
    await page.getByText("The service can't be reached").waitFor({ state: "detached" });
    await expect.poll(() => styleOf("opacity")).toBe("1");
    await page.close();
    await again.remove();
  });
});
