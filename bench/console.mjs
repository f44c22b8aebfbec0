// `npm run bench:console`: the figures of docs/console.md. Needs Chromium (Debian's package `chromium`).
//
//   npm run bench:console -- --keys 20000    a smaller bucket
//   npm run bench:console -- --parts         also what the longest tasks consisted of
import { existsSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { chromium } from "playwright-core";
import { longestTasks } from "./console/long-tasks.mjs";
import { gzipSizes } from "./console/sizes.mjs";
import { startFilled, stopAll } from "./processes.mjs";
import { keyOf, VALUE } from "./scale/keys.mjs";

const at = process.argv.indexOf("--keys");
const KEYS = at < 0 ? 1_000_000 : Number(process.argv[at + 1]);
const WITH_PARTS = process.argv.includes("--parts");
const CHANGES_A_SECOND = 50;
const CHANGES_MS = 5_000;
/** High enough for 50 rows. */
const VIEWPORT = { width: 1280, height: 2160 };
const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const report = (name, figures) =>
  console.log(`${name.padEnd(58)} ${figures}   (load ${loadavg()[0].toFixed(1)})`);
const ms = (number) => `${Math.round(number)} ms`;

console.log(`${KEYS} keys, ${cpus().length} cores`);
for (const [name, bytes] of gzipSizes()) report(name, `${Math.round(bytes / 1_000)} kB gzip`);
const { port } = await startFilled(
  Array.from({ length: KEYS }, (_, number) => keyOf(number)),
  VALUE,
);
const base = `http://127.0.0.1:${port}`;
const browser = await chromium.launch({
  executablePath: PATHS.find((path) => existsSync(path)),
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
try {
  for (const visit of ["right after the bucket was filled", "again"]) {
    const { page, paintMs, rowsMs } = await open("/console/buckets/big", 50);
    report(`${visit}`, `first paint ${ms(paintMs)}, 50 rows ${ms(rowsMs)}`);
    await page.close();
  }
  const middle = encodeURIComponent(keyOf(KEYS / 2 + 500));
  for (const [name, search] of [
    ["a link to a key in the middle", `?at=${middle}`],
    ["a link to a key in the middle, in a tree", `?sort=tree&open=${middle.split(".")[0]}.&at=${middle}`],
  ]) {
    const { page, paintMs, rowsMs } = await open(`/console/buckets/big${search}`, 50);
    report(name, `first paint ${ms(paintMs)}, 50 rows ${ms(rowsMs)}`);
    await page.close();
  }
  // The first visible key, whose value changes with every fourth change.
  const key = encodeURIComponent(keyOf(0));
  for (const [name, path, rows] of [
    ["a list of keys", "/console/buckets/big", 50],
    ["a list of keys and an open value", `/console/buckets/big?key=${key}`, 50],
    ["a list of keys, last changed first", "/console/buckets/big?sort=changed&find=tenant-000", 50],
    ["a tree", "/console/buckets/big?sort=tree", 50],
    ["the live feed", "/console/live?bucket=big", 0],
  ]) {
    const { page } = await open(path, rows);
    await page.locator(".live-live").waitFor();
    if (path.includes("key=")) await page.locator(".cm-content").waitFor();
    const { clockMs, cpuMs, parts, count } = await longestTasks(browser, page, () => change(CHANGES_MS));
    report(
      `${CHANGES_A_SECOND} changes a second: ${name}`,
      `longest task ${ms(clockMs)}, ${ms(cpuMs)} of them processor time (${count} tasks)`,
    );
    if (WITH_PARTS) for (const [part, partMs] of parts) console.log(`    ${part} ${partMs.toFixed(1)} ms`);
    await page.close();
  }
  const { page } = await open("/console/buckets/big", 50);
  const loading = await longestTasks(browser, page, async () => {
    await page.getByRole("button", { name: "Load all" }).click();
    await page.getByText(/^[\d,]+ keys$/).waitFor({ timeout: 120_000 });
  });
  report("all keys loaded", `longest task ${ms(loading.clockMs)}, ${ms(loading.cpuMs)} processor time`);
  await page.getByRole("listbox", { name: "Keys" }).focus();
  const scrolling = await longestTasks(browser, page, async () => {
    await page.keyboard.press("End");
    for (let turn = 0; turn < 20; turn++) await page.mouse.wheel(0, -3_000);
  });
  report(
    "scrolled at the last one",
    `longest task ${ms(scrolling.clockMs)}, ${ms(scrolling.cpuMs)} processor time`,
  );
} finally {
  await browser.close();
  await stopAll();
}

/** Opens a page; `rowsMs` is when it had that many rows. */
async function open(path, rows) {
  const page = await browser.newPage({ viewport: VIEWPORT });
  await page.addInitScript((least) => {
    new MutationObserver((_, observer) => {
      if (document.querySelectorAll(".row").length < least) return;
      window.rowsMs = performance.now();
      observer.disconnect();
    }).observe(document, { childList: true, subtree: true });
  }, rows);
  await page.goto(`${base}${path}`);
  await page.waitForFunction(() => window.rowsMs !== undefined, undefined, { timeout: 120_000 });
  const [paintMs, rowsMs] = await page.evaluate(() => [
    performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
    window.rowsMs,
  ]);
  return { page, paintMs, rowsMs };
}

/** Writes at a steady rate: every second one to a key that is visible, the others to new keys before all others. */
async function change(durationMs) {
  const startMs = performance.now();
  for (let sent = 0; ; sent++) {
    const dueMs = startMs + (sent * 1_000) / CHANGES_A_SECOND;
    if (dueMs > startMs + durationMs) return;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    const key = sent % 2 === 0 ? `added.${Date.now()}` : keyOf(((sent % 16) >> 1) * 1_000);
    void fetch(`${base}/api/v1/kv/buckets/big/keys/${encodeURIComponent(key)}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sent, text: "x".repeat(100) }),
    }).then((response) => response.body?.cancel());
  }
}
