/** A bucket of many keys in the console: 20,000, and with EXTENDED=1 a million. Prints how long things take; the times decide nothing. */
import { connect } from "../support/nats-connection.js";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { launchChromium, RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { IS_EXTENDED } from "../support/extended.js";
import { startNatsServer } from "../support/nats-server.js";
import { startTestService } from "../support/service.js";
import { openConsole } from "./console-page.js";
import { API_KEY, clientOf, rowOf, topRow } from "./console-test.js";

const KEYS = IS_EXTENDED ? 1_000_000 : 20_000;
const PUBLISHED_AT_ONCE = 10_000;
const CHANGES = 100;
/** 50 a second. */
const CHANGE_INTERVAL_MS = 20;
const ROW_PIXELS = 34;
/** High enough for 50 rows. */
const VIEWPORT = { width: 1280, height: 2160 };
const keyOf = (index: number): string => `user.${String(index).padStart(7, "0")}`;

interface Times {
  readonly rowsMs: number;
  readonly longestTaskMs: number;
}
type TimedWindow = Window & { times?: Times };

/** Records in the page when 50 rows exist, and the longest task. */
async function observe(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const times = { rowsMs: 0, longestTaskMs: 0 };
    Object.assign(window, { times });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries())
        times.longestTaskMs = Math.max(times.longestTaskMs, duration);
    }).observe({ type: "longtask", buffered: true });
    new MutationObserver((_, observer) => {
      if (document.querySelectorAll(".row").length < 50) return;
      times.rowsMs = performance.now();
      observer.disconnect();
    }).observe(document, { childList: true, subtree: true });
  });
}

const rowsMsOf = (page: Page): Promise<number> =>
  page.evaluate(() => (window as TimedWindow).times?.rowsMs ?? 0);

/** The times since the last call; `longestTaskMs` is 0 if no task took 50 ms. */
const takeTimes = (page: Page): Promise<Times> =>
  page.evaluate(() => {
    const { rowsMs = 0, longestTaskMs = 0 } = (window as TimedWindow).times ?? {};
    Object.assign((window as TimedWindow).times ?? {}, { longestTaskMs: 0 });
    return { rowsMs, longestTaskMs };
  });

const firstPaintOf = (page: Page): Promise<number> =>
  page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN);

async function fill(url: string): Promise<void> {
  const nats = await connect({ servers: url });
  for (let start = 0; start < KEYS; start += PUBLISHED_AT_ONCE) {
    const end = Math.min(KEYS, start + PUBLISHED_AT_ONCE) - 1;
    for (let index = start; index < end; index++) nats.publish(`$KV.APP_many.${keyOf(index)}`, "1");
    // The server stores the messages of a connection in their order: this answer is the last.
    await nats.request(`$KV.APP_many.${keyOf(end)}`, "1", { timeout: 60_000 });
  }
  await nats.close();
}

test.runIf(RUNS_ALL_BROWSER_TESTS)(
  "the console shows the first of many keys at once, reaches the last, and stays in place while they change",
  { timeout: IS_EXTENDED ? 600_000 : 180_000 },
  async ({ onTestFinished }) => {
    const nats = await startNatsServer();
    onTestFinished(() => nats.remove());
    const service = await startTestService({ "nats-url": nats.url, "api-key": API_KEY });
    onTestFinished(() => service.remove());
    const browser = await launchChromium();
    onTestFinished(() => browser.close());
    const kv = clientOf(service);
    await kv.createBucket({ name: "many" });
    await fill(nats.url);
    const bucket = kv.bucket("many");

    const visit = async (search = "", shown = keyOf(0)) => {
      const { page } = await openConsole(
        browser,
        `${service.url}/console/buckets/many${search}`,
        API_KEY,
        { viewport: VIEWPORT },
        observe,
      );
      await page.locator(".row").getByText(shown, { exact: true }).waitFor({ timeout: 120_000 });
      await expect.poll(() => rowsMsOf(page)).toBeGreaterThan(0);
      return page;
    };
    const report = async (what: string, page: Page): Promise<void> => {
      const { rowsMs, longestTaskMs } = await takeTimes(page);
      console.log(
        `${what}: first paint ${Math.round(await firstPaintOf(page))} ms, 50 rows ${Math.round(rowsMs)} ms, ` +
          `longest task since ${longestTaskMs === 0 ? "below 50" : Math.round(longestTaskMs)} ms`,
      );
    };
    const first = await visit();
    await report(`${KEYS} keys, right after they were written`, first);
    await first.close();
    const deep = keyOf(0.7 * KEYS);
    for (const [what, search, shown] of [
      ["a link to a key among them", `?at=${deep}`, deep],
      ["the same, Z to A", `?sort=descending&at=${deep}`, deep],
      ["the same in a tree", `?sort=tree&open=user.&at=${deep}`, deep.replace("user.", "")],
      ["the first level of a tree", "?sort=tree&open=user.", keyOf(0).replace("user.", "")],
    ] as const) {
      const linked = await visit(search, shown);
      if (search.includes("at=")) await topRow(linked, shown);
      await report(what, linked);
      await linked.close();
    }
    const page = await visit();
    await report("again", page);

    const rows = page.locator(".rows");
    const scrollTo = (index: number): Promise<void> =>
      rows.evaluate((element, top) => void (element.scrollTop = top), index * ROW_PIXELS);
    await scrollTo(500);
    await rowOf(page, keyOf(501)).waitFor();
    await page.locator(".live-live").waitFor();
    const placeOf = async (key: string): Promise<number | undefined> =>
      (await rowOf(page, key).boundingBox())?.y;
    const before = await placeOf(keyOf(510));
    await takeTimes(page);
    let sent = 0;
    await new Promise<void>((resolve, reject) => {
      const timer = setInterval(() => {
        const number = sent++;
        if (sent === CHANGES) clearInterval(timer);
        const key = number % 2 === 0 ? `added.${number}` : keyOf(495 + ((number - 1) % 20));
        void bucket.put(key, number).then(() => number === CHANGES - 1 && resolve(), reject);
      }, CHANGE_INTERVAL_MS);
    });
    // The last change is shown.
    await expect.poll(() => page.locator(".keys-footer").innerText()).toContain("Live");
    await expect.poll(() => placeOf(keyOf(510))).toBe(before);
    await report(`${CHANGES} changes, ${1_000 / CHANGE_INTERVAL_MS} a second`, page);

    await page.getByRole("button", { name: "Load all" }).click();
    await page.getByText(/^[\d,]+ keys$/).waitFor({ timeout: 120_000 });
    await report("all keys loaded", page);
    await page.getByRole("listbox", { name: "Keys" }).focus();
    await page.keyboard.press("End");
    const last = rowOf(page, keyOf(KEYS - 1));
    await last.waitFor();
    const [box, list] = [await last.boundingBox(), await rows.boundingBox()];
    expect((box?.y ?? 0) + (box?.height ?? 0)).toBeCloseTo((list?.y ?? 0) + (list?.height ?? 0), -1);
    for (let step = 0; step < 20; step++) await page.mouse.wheel(0, -3_000);
    await report("20 turns of the wheel at the end", page);
    await page.keyboard.press("Home");
    await rowOf(page, "added.0").waitFor();
    expect(await rows.evaluate((element) => element.scrollTop)).toBe(0);
  },
);
