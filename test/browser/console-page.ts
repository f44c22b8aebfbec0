/** The console in a tab of a real browser, and the violations of accessibility rules that axe finds in it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";

/** The part of axe's API that the tests use. */
interface Axe {
  run(options: {
    runOnly?: readonly string[];
  }): Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }>;
}

const requireFromConsole = createRequire(new URL("../../console/package.json", import.meta.url));

/** What a busy machine needs for what an idle one does at once. */
const WAIT_MS = 60_000;

export interface ConsolePage {
  readonly page: Page;
  /** Errors of scripts and of the content security policy. Calls that the service refuses are not counted. */
  readonly problems: readonly string[];
}

/** Opens a path of the console, signed in with a key. `prepare`: what to do before the page is loaded. */
export async function openConsole(
  browser: Browser,
  url: string,
  apiKey: string | undefined,
  options: BrowserContextOptions = {},
  prepare?: (page: Page) => Promise<void>,
): Promise<ConsolePage> {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(WAIT_MS);
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
      problems.push(message.text());
  });
  if (apiKey !== undefined)
    await page.addInitScript((key) => {
      sessionStorage.setItem("ironflow-api-key", key);
    }, apiKey);
  await page.addInitScript(recordPassing);
  await prepare?.(page);
  await page.goto(url);
  return { page, problems };
}

interface RecordingWindow extends Window {
  /** Texts of messages and of rows that were marked as written, in their order. */
  shownForAMoment?: string[];
}

/** In the page: records what is shown for seconds only. A busy machine may not look at it in that time. */
function recordPassing(): void {
  const shown: string[] = [];
  (window as RecordingWindow).shownForAMoment = shown;
  const passing = ".toast, .row-put";
  new MutationObserver((mutations) => {
    for (const { type, target, addedNodes } of mutations)
      for (const node of type === "attributes" ? [target] : addedNodes) {
        if (!(node instanceof Element)) continue;
        const found = node.matches(passing)
          ? [node]
          : type === "attributes"
            ? []
            : node.querySelectorAll(passing);
        for (const element of found) shown.push(element.textContent);
      }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
}

/**
 * Waits until the page has shown a message or a row that is marked as written, with exactly this text, since it was loaded and since the last call:
 * it may be gone by now.
 */
export async function hasShown(page: Page, text: string): Promise<void> {
  const take = (wanted: string): boolean => {
    const { shownForAMoment: shown = [] } = window as RecordingWindow;
    return shown.splice(0, shown.indexOf(wanted) + 1).length > 0;
  };
  await expect.poll(() => page.evaluate(take, text), { message: `The page shows “${text}”` }).toBe(true);
}

/** Returns what axe objects to on the page: rule and element. `rules`: default, all. */
export async function accessibilityProblems(page: Page, rules?: readonly string[]): Promise<string[]> {
  await page.evaluate(await readFile(requireFromConsole.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(
    (runOnly) =>
      (window as Window & { axe?: Axe }).axe?.run(runOnly === undefined ? {} : { runOnly }) ?? {
        violations: [],
      },
    rules,
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary ?? ""}`),
  );
}
