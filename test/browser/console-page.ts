/** The console in a tab of a real browser, and the violations of accessibility rules that axe finds in it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";

/** The part of axe's API that the tests use. */
interface Axe {
  run(options: {
    runOnly?: readonly string[];
  }): Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }>;
}

const requireFromConsole = createRequire(new URL("../../console/package.json", import.meta.url));

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
  await prepare?.(page);
  await page.goto(url);
  return { page, problems };
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
