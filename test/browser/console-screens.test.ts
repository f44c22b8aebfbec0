/** Screens: what axe finds in light and dark, and whether they fit on a phone and on a 4K display. All of them with EXTENDED=1. */
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { CHROMIUM } from "../support/chromium.js";
import { IS_EXTENDED } from "../support/extended.js";
import { accessibilityProblems, hasShown } from "./console-page.js";
import { API_KEY, consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();

const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 800 };
const DISPLAY_4K = { width: 3840, height: 2160 };

async function openMenu(
  page: Page,
  menu: string,
  item: string,
  role: "dialog" | "alertdialog",
): Promise<void> {
  await page.getByRole("button", { name: menu }).click();
  await page.getByRole("menuitem", { name: item }).click();
  await page.getByRole(role).waitFor();
}

async function edit(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByRole("textbox", { name: "Value to edit" }).waitFor();
}

async function selectAndDelete(page: Page): Promise<void> {
  await page.getByRole("listbox", { name: "Keys" }).focus();
  await page.keyboard.press("Control+a");
  await page.getByRole("region", { name: "Selected keys" }).getByRole("button", { name: "Delete" }).click();
  await page.getByRole("alertdialog").waitFor();
}

async function newKey(page: Page): Promise<void> {
  await page.locator(".live-live").waitFor();
  await page.keyboard.press("n");
  await page.getByRole("dialog").waitFor();
}

/** Each: its address, and what is there when it has loaded. */
type Screen = readonly [path: string, loaded: (page: Page) => Promise<unknown>];
const CORE_SCREENS: readonly Screen[] = [
  ["/console/buckets", (page) => page.getByRole("link", { name: "shown" }).waitFor()],
  ["/console/buckets/shown?key=user.1", (page) => page.locator(".cm-content").waitFor()],
  ["/console/live?bucket=shown", (page) => page.locator(".live-live").waitFor()],
];
const OTHER_SCREENS: readonly Screen[] = [
  ["/console/buckets?create=bucket", (page) => page.getByRole("dialog").waitFor()],
  ["/console/buckets/shown?sort=tree", (page) => page.getByRole("treeitem").first().waitFor()],
  ["/console/buckets/shown?key=user.1&view=history", (page) => page.locator(".cm-content").waitFor()],
  ["/console/status", (page) => page.getByText("The service is ready").waitFor()],
  ["/console/api-keys", (page) => page.getByRole("cell").first().waitFor()],
  ["/console/api-keys?create=key", (page) => page.getByRole("dialog").waitFor()],
  ["/console/buckets/shown", (page) => openMenu(page, "Actions of shown", "Settings", "dialog")],
  ["/console/buckets/shown", (page) => openMenu(page, "Actions of shown", "Delete bucket", "alertdialog")],
  [
    "/console/buckets/shown?key=user.1",
    (page) => openMenu(page, "Actions of the key", "Purge", "alertdialog"),
  ],
  ["/console/buckets/shown?key=user.1", edit],
  ["/console/buckets/shown?key=gone", (page) => page.getByText("This key has no value").waitFor()],
  ["/console/buckets/shown?find=zzz", (page) => page.getByText("No key matches").waitFor()],
  ["/console/buckets/shown", selectAndDelete],
  ["/console/buckets/shown", newKey],
  ["/console/buckets/unknown", (page) => page.getByRole("alert").first().waitFor()],
  ["/console/api-keys", (page) => openMenu(page, "Actions of a key", "Rotate", "dialog")],
  ["/console/live?bucket=unknown", (page) => page.getByRole("alert").first().waitFor()],
  ["/console/buckets?env=staging", (page) => page.getByText("There is no bucket yet").waitFor()],
  ["/console/nowhere", (page) => page.getByRole("heading", { level: 1 }).waitFor()],
];
const SCREENS = IS_EXTENDED ? [...CORE_SCREENS, ...OTHER_SCREENS] : CORE_SCREENS;

/** Whether something is wider than the page, which then scrolls sideways. */
const overflowOf = (page: Page): Promise<number> =>
  page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

describe.skipIf(CHROMIUM === undefined)("the console", () => {
  const forScreens = { timeout: IS_EXTENDED ? 400_000 : 180_000 };
  it(
    "has screens without a violation of axe's rules, in light and dark, that fit on a phone and on a 4K display",
    forScreens,
    async ({ service, kv, open }) => {
      const bucket = await newBucket(kv, "shown", 5);
      for (const n of [1, 2]) await bucket.put("user.1", { n });
      await createClient({ serverUrl: service.url, apiKey: API_KEY })
        .apiKeys()
        .create({ name: "a key", scopes: [{ accesses: ["read"], buckets: "*" }] });
      const found: string[] = [];
      const { page: signIn } = await open("/console/buckets", { apiKey: "" });
      await signIn.getByLabel("API key").waitFor();
      for (const colorScheme of ["light", "dark"] as const) {
        await signIn.emulateMedia({ colorScheme });
        for (const problem of await accessibilityProblems(signIn))
          found.push(`sign-in ${colorScheme}: ${problem}`);
      }
      const { page, problems } = await open("/console/buckets", {
        viewport: DESKTOP,
        reducedMotion: "reduce",
      });
      for (const [path, loaded] of SCREENS) {
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize(DESKTOP);
          await page.goto(`${service.url}${path}`);
          await loaded(page);
          if (path === "/console/live?bucket=shown") {
            await bucket.put("user.2", { n: 1 });
            await bucket.delete("user.2");
            await page.getByRole("option").nth(1).click();
          }
          // Only colours differ in the dark.
          const rules = colorScheme === "dark" ? ["color-contrast"] : undefined;
          for (const problem of await accessibilityProblems(page, rules))
            found.push(`${path} ${colorScheme}: ${problem}`);
        }
        for (const size of [PHONE, DISPLAY_4K]) {
          await page.setViewportSize(size);
          const overflow = await overflowOf(page);
          if (overflow > 0) found.push(`${path} at ${size.width}: ${overflow} pixels too wide`);
        }
      }
      expect(found).toEqual([]);
      expect(problems).toEqual([]);
    },
  );

  it("creates an API key, shows its secret once, rotates and revokes it", async ({ service, open }) => {
    const { page, problems } = await open("/console/api-keys?create=key");
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name").fill("deploy");
    await dialog.getByRole("textbox", { name: "Buckets" }).fill("staging/*");
    await dialog.getByLabel("Expires after").fill("90d");
    await dialog.getByRole("button", { name: "Create API key" }).click();
    const secret = page.getByText(/^ifkey_/);
    await secret.waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    const first = await secret.innerText();
    await page.getByRole("button", { name: "Close" }).click();
    await page.getByRole("row", { name: "deploy" }).getByText("staging/*").waitFor();
    expect(await page.content()).not.toContain(first);
    const keyOf = (apiKey: string) =>
      createClient({ serverUrl: service.url, apiKey, environment: "staging" }).kv();
    expect(await keyOf(first).listBuckets()).toEqual([]);
    await page.getByRole("button", { name: "Actions of deploy" }).click();
    await page.getByRole("menuitem", { name: "Rotate" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
    await secret.waitFor();
    expect(await secret.innerText()).not.toBe(first);
    await page.getByRole("button", { name: "Close" }).click();
    await page.getByRole("button", { name: "Actions of deploy" }).click();
    await page.getByRole("menuitem", { name: "Revoke" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Revoke" }).click();
    await hasShown(page, "Revoked the API key.");
    await page.getByRole("row", { name: "deploy" }).waitFor({ state: "detached" });
    expect(problems).toEqual([]);
  });
});
