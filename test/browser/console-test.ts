/** Tests of the console in Chromium, with one service and one browser for each file. */
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { test } from "vitest";
import { type Bucket, createClient } from "@ironflow-kv/client";
import { launchChromium } from "../support/chromium.js";
import { startTestService, type TestService } from "../support/service.js";
import { type ConsolePage, openConsole } from "./console-page.js";

export const API_KEY = "a-key-for-the-console";

type KeyValue = ReturnType<ReturnType<typeof createClient>["kv"]>;

export interface OpenOptions extends BrowserContextOptions {
  /** Default: the admin key. Empty: none. */
  readonly apiKey?: string;
  /** What to do before the page is loaded. */
  readonly prepare?: (page: Page) => Promise<void>;
}

/** A tab, which is closed after the test. */
export type Open = (path: string, options?: OpenOptions) => Promise<ConsolePage>;

/** Settings of the service by flag, such as `{ "watches-max": "1" }`. */
export const consoleTest = (settings: Record<string, string> = {}) =>
  test
    .extend(
      "service",
      { scope: "file" },
      // eslint-disable-next-line no-empty-pattern -- Vitest reads the names of fixtures from the pattern.
      async ({}, { onCleanup }): Promise<TestService> => {
        const service = await startTestService({ "api-key": API_KEY, ...settings });
        onCleanup(() => service.remove());
        return service;
      },
    )
    .extend(
      "browser",
      { scope: "file" },
      // eslint-disable-next-line no-empty-pattern -- See above.
      async ({}, { onCleanup }): Promise<Browser> => {
        const browser = await launchChromium();
        onCleanup(() => browser.close());
        return browser;
      },
    )
    .extend("kv", { scope: "file" }, ({ service }): KeyValue => clientOf(service))
    .extend("open", ({ service, browser, task }, { onCleanup }): Open => {
      const opened: ConsolePage[] = [];
      onCleanup(async () => {
        for (const one of opened) {
          if (task.result?.state === "fail") await report(one);
          await one.page.close();
        }
      });
      return async (path, { apiKey = API_KEY, prepare, ...options } = {}) => {
        const tab = await openConsole(
          browser,
          `${service.url}${path}`,
          apiKey === "" ? undefined : apiKey,
          options,
          prepare,
        );
        opened.push(tab);
        return tab;
      };
    });

/** Prints what a page shows when its test has failed. */
async function report({ page, problems }: ConsolePage): Promise<void> {
  const text = await page.locator("body").innerText();
  console.error(`The page at ${page.url()} shows:\n${text}\nIts errors: ${JSON.stringify(problems)}`);
}

/** The buckets of a service, or of one of its environments. */
export function clientOf(service: TestService, environment?: string): KeyValue {
  return createClient({ serverUrl: service.url, apiKey: API_KEY, environment }).kv();
}

/** Replaces a bucket of an earlier try of the test. */
export async function newBucket(kv: KeyValue, name: string, history = 1): Promise<Bucket> {
  if ((await kv.listBuckets()).some((bucket) => bucket.name === name)) await kv.deleteBucket(name);
  await kv.createBucket({ name, history });
  return kv.bucket(name);
}

/** Names of keys in order, from `key.0000`. */
export function numbered(count: number): string[] {
  const digits = Math.max(4, String(count - 1).length);
  return Array.from({ length: count }, (_, n) => `key.${String(n).padStart(digits, "0")}`);
}

const IMPORTED_AT_ONCE = 1_000;

/** Writes each of many keys. Nothing else may write meanwhile. */
export async function putAll(bucket: Bucket, keys: readonly string[]): Promise<void> {
  await bucket.put("filling", "");
  let { revision } = await bucket.purge("filling");
  const value = new TextEncoder().encode("1");
  for (let start = 0; start < keys.length; start += IMPORTED_AT_ONCE) {
    const entries = keys
      .slice(start, start + IMPORTED_AT_ONCE)
      .map((key) => ({ key, value, operation: "put" as const, contentType: "" }));
    ({ revision } = await bucket.importEntries(entries, revision));
  }
}

/** Scrolls the list or tree of keys so that the row of this index is the first one. */
export async function scrollToRow(page: Page, index: number): Promise<void> {
  await page.evaluate((top) => document.querySelector(".rows")?.scrollTo({ top }), index * 34);
}

/** Waits until the row at the top of the list or tree has this text. Undefined: any. Returns the text. */
export async function topRow(page: Page, text?: string): Promise<string> {
  const shown = await page.waitForFunction((wanted) => {
    const { left, top } = document.querySelector(".rows")?.getBoundingClientRect() ?? new DOMRect();
    const row = document.elementFromPoint(left + 60, top + 17)?.closest(".row");
    return row !== null && row !== undefined && (wanted ?? row.textContent) === row.textContent
      ? row.textContent
      : false;
  }, text);
  return String(await shown.jsonValue());
}

/** The row of a key in the list. */
export function rowOf(page: Page, key: string): Locator {
  return page.getByRole("option").filter({ hasText: new RegExp(`^${key}$`) });
}
