/** Chromium for tests in a real browser (Debian's package `chromium`). */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";
import { IS_EXTENDED } from "./extended.js";

/** The path of the program; undefined if there is none: the tests are skipped. */
export const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => existsSync(path),
);
if (CHROMIUM === undefined)
  console.log("The browser tests are skipped: there is no Chromium (Debian: apt-get install chromium).");

/** `npm test` runs a few of the tests in Chromium. BROWSER_TESTS=all, as `.ci/run` sets it, and EXTENDED=1 run all. */
export const RUNS_ALL_BROWSER_TESTS =
  CHROMIUM !== undefined && (process.env.BROWSER_TESTS === "all" || IS_EXTENDED);

export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM ?? "",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
