/**
 * connect-web and, with EXTENDED=1, the official client of gRPC-Web in Chromium, from another origin than the service's.
 * docs/clients.md has the table.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHROMIUM, launchChromium } from "../support/chromium.js";
import { isExtendedFor } from "../support/extended.js";
import { type ModulePages, startModulePages } from "../support/module-pages.js";
import { startTestService, type TestService } from "../support/service.js";
import { succeeds } from "../support/until.js";
import { API_KEY, createMatrixBucket, expectedLines, MISSING_KEY, UPPER_CASE_CODES } from "./client-lines.js";

const GRPC_WEB = "grpc-web@2.1.1";
const INSTALL_MS_MAX = 60_000;
const run = promisify(execFile);
/** The files of a client. */
type Files = Readonly<Record<string, string>>;
const fileOf = (name: string): string => join(import.meta.dirname, "browser-clients", name);

describe.skipIf(CHROMIUM === undefined)("in Chromium", () => {
  let service: TestService;
  let browser: Browser;
  beforeAll(async () => {
    service = await startTestService({ "api-key": API_KEY });
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser.close();
    await service.remove();
  });

  /** What a client prints in a page. */
  async function linesOf(client: string, files: Files, protocol: string, bucket: string): Promise<unknown> {
    const names = { "calls.mjs": fileOf("calls.mjs"), "client.mjs": fileOf(client), ...files };
    const pages: ModulePages = await startModulePages(
      'import { run } from "client.mjs"; window.run = run;',
      names,
    );
    const page = await browser.newPage();
    await page.goto(pages.url);
    await page.waitForFunction(() => document.title === "ready");
    const options = { url: service.url, protocol, apiKey: API_KEY, bucket, missingKey: MISSING_KEY };
    const lines = await page.evaluate(
      (given) => (window as unknown as { run: (options: object) => Promise<string[]> }).run(given),
      options,
    );
    await page.close();
    pages.close();
    return lines;
  }

  it.each(["Connect", "gRPC-Web"])("connect-web, %s", async (protocol) => {
    const bucket = await createMatrixBucket(service);
    const codes = {
      conflict: "AlreadyExists",
      tooLarge: "ResourceExhausted",
      unauthenticated: "Unauthenticated",
      deadline: "DeadlineExceeded",
    };
    expect(await linesOf("connect-web.mjs", {}, protocol, bucket)).toEqual(expectedLines(bucket, codes));
  });

  describe.runIf(isExtendedFor("the official client of gRPC-Web", "it is installed"))(GRPC_WEB, () => {
    let folder: string;
    let isInstalled: boolean;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "ironflow-grpc-web-"));
      const args = ["install", "--no-audit", "--no-fund", "--prefix", folder, GRPC_WEB];
      isInstalled = await succeeds(run("npm", args, { timeout: INSTALL_MS_MAX }));
    }, INSTALL_MS_MAX);
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it.for(["grpcwebtext", "grpcweb"])("%s", async (format, { skip }) => {
      if (!isInstalled) return skip("It could not be installed with npm.");
      const bucket = await createMatrixBucket(service);
      const files = { "grpc-web": join(folder, "node_modules/grpc-web/index.esm.js") };
      expect(await linesOf("grpc-web.mjs", files, format, bucket)).toEqual(
        expectedLines(bucket, UPPER_CASE_CODES),
      );
    });
  });
});
