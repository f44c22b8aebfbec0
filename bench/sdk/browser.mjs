// The SDK in a page of Chromium: what `fetch` allows. Needs Chromium (Debian's package `chromium`).
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { rolldown } from "rolldown";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const PAGE = `<!doctype html><script type="module">import * as sdk from "/sdk.js"; window.sdk = sdk; document.title = "ready";</script>`;

/** A page that has the SDK; undefined without Chromium. */
export async function startBrowser(serverUrl) {
  const executablePath = PATHS.find((path) => existsSync(path));
  if (executablePath === undefined) return undefined;
  const bundle = await rolldown({
    input: fileURLToPath(new URL("../../packages/client/dist/index.js", import.meta.url)),
    platform: "browser",
  });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
  const server = createServer((request, response) => {
    const isScript = request.url === "/sdk.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? output[0].code : PAGE);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => document.title === "ready");
  return {
    gets: (inFlight, durationMs) => page.evaluate(measure, { serverUrl, inFlight, durationMs }),
    async close() {
      await browser.close();
      server.close();
    },
  };
}

/** Runs in the page. */
async function measure({ serverUrl, inFlight, durationMs }) {
  const bucket = window.sdk.createClient({ serverUrl }).kv().bucket("b");
  const latenciesMs = [];
  const startMs = performance.now();
  const worker = async () => {
    for (;;) {
      const beganMs = performance.now();
      if (beganMs - startMs >= durationMs) return;
      await bucket.get("key");
      latenciesMs.push(performance.now() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  latenciesMs.sort((left, right) => left - right);
  const p50Ms = latenciesMs[Math.floor(latenciesMs.length / 2)] ?? 0;
  return { perSecond: (latenciesMs.length / (performance.now() - startMs)) * 1000, p50Ms };
}
