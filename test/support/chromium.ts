/** Chromium for tests in a real browser (Debian's package `chromium`). */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

/** The path of the program; undefined if there is none: the tests are skipped. */
export const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => existsSync(path),
);
if (CHROMIUM === undefined)
  console.log("The browser tests are skipped: there is no Chromium (Debian: apt-get install chromium).");

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
