// Makes the screenshots of docs/console.md from the built service. Needs Chromium. `node scripts/console-screenshots.mjs [FOLDER] [NAME...]`
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { change, seed } from "./console-sample-data.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { startService } = await import(`${root}dist/src/embed.js`);
const [folder = `${root}docs/console`, ...names] = process.argv.slice(2);
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);
const DESKTOP = { width: 1280, height: 800 };
const MOBILE = { width: 390, height: 844 };

/** Each: its name, its address, and what to do before it is taken. */
const SHOTS = [
  ["buckets", "/console/buckets"],
  ["new-bucket", "/console/buckets?create=bucket"],
  ["keys", "/console/buckets/inventory"],
  ["tree", "/console/buckets/inventory?sort=tree", openedTree],
  ["value", "/console/buckets/feature-flags?key=checkout.one-click", loadedEditor],
  ["history", "/console/buckets/feature-flags?key=checkout.one-click&view=history", loadedEditor],
  ["live", "/console/live?bucket=sessions", withChanges],
  ["status", "/console/status"],
  ["api-keys", "/console/api-keys?create=key"],
];

const dataDir = mkdtempSync(join(tmpdir(), "ironflow-screenshots-"));
const service = await startService({
  settings: { port: "0", "data-dir": dataDir, durability: "relaxed", "log-level": "error" },
});
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
try {
  mkdirSync(folder, { recursive: true });
  await seed(service.url);
  for (const [name, path, prepare] of SHOTS) {
    if (names.length > 0 && !names.includes(name)) continue;
    await shoot(name, path, prepare, DESKTOP, "light");
    await shoot(`${name}-dark`, path, prepare, DESKTOP, "dark");
    await shoot(`${name}-mobile`, path, prepare, MOBILE, "light");
  }
} finally {
  await browser.close();
  await service.stop();
  rmSync(dataDir, { recursive: true, force: true });
}

async function loadedEditor(page) {
  await page.locator(".cm-content").waitFor();
}

/** Opens a group of the tree. */
async function openedTree(page) {
  await page.getByRole("treeitem").first().click();
  await page.getByRole("treeitem").nth(1).click();
  await page.getByRole("treeitem").nth(4).waitFor();
}

/** Waits until a few changes have arrived. */
async function withChanges(page) {
  await page.locator(".live-live").waitFor();
  await change(service.url);
  await page.getByRole("option").nth(5).waitFor();
  await page.getByRole("option").nth(2).click();
  await loadedEditor(page);
}

async function shoot(name, path, prepare, viewport, colorScheme) {
  const page = await browser.newPage({ viewport, colorScheme, reducedMotion: "reduce" });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) process.stderr.write(`${name}: ${message.text()}\n`);
  });
  page.on("pageerror", (error) => process.stderr.write(`${name}: ${error}\n`));
  await page.goto(`${service.url}${path}`);
  await page.locator("main h1").first().waitFor();
  await page.locator(".loading").first().waitFor({ state: "detached" });
  // The number of keys comes after everything else.
  for (const text of ["…", "being counted"])
    await page.getByText(text, { exact: true }).first().waitFor({ state: "detached" });
  await prepare?.(page);
  await page.screenshot({ path: join(folder, `${name}.png`) });
  await page.close();
}
