/** What the console offers to copy: keys, commands and a program. Commands and the program are run as they are. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { describe, expect } from "vitest";
import { RUNS_ALL_BROWSER_TESTS } from "../support/chromium.js";
import { hasShown } from "./console-page.js";
import { API_KEY, clientOf, consoleTest, newBucket } from "./console-test.js";

const it = consoleTest();
const root = fileURLToPath(new URL("../..", import.meta.url));
const withClipboard = { permissions: ["clipboard-read", "clipboard-write"] };

const clipboardOf = (page: Page): Promise<string> => page.evaluate(() => navigator.clipboard.readText());

/** Runs a program with the API key in its environment. Returns its output. */
async function run(program: string, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, IRONFLOW_API_KEY: API_KEY };
  return (await promisify(execFile)(program, args, { cwd: root, env })).stdout;
}

describe.runIf(RUNS_ALL_BROWSER_TESTS)("the console", () => {
  it("copies a key, and a command that reads it in its environment, without the API key", async ({
    service,
    open,
  }) => {
    const key = "it's 100% a/key?& $HOME\u00e9";
    const bucket = await newBucket(clientOf(service, "copying"), "copied");
    await bucket.put(key, "the value", { contentType: "text/plain" });
    const { page, problems } = await open(
      `/console/buckets/copied?env=copying&key=${encodeURIComponent(key)}`,
      withClipboard,
    );
    await page.getByText("the value").waitFor();
    await page.getByRole("button", { name: "Copy the key" }).click();
    await hasShown(page, "Copied the key.");
    expect(await clipboardOf(page)).toBe(key);
    await page.getByRole("button", { name: "Actions of the key" }).click();
    await page.getByRole("menuitem", { name: "Copy as curl" }).click();
    await hasShown(page, "Copied a curl command.");
    const command = await clipboardOf(page);
    expect(command).not.toContain(API_KEY);
    expect(await run("sh", "-c", command)).toBe("the value");
    expect(problems).toEqual([]);
  });

  it("teaches the first bucket with commands and a program that create it", async ({ service, open }) => {
    for (const [environment, title] of [
      ["by-curl", "curl"],
      ["by-sdk", "TypeScript"],
    ] as const) {
      const { page } = await open(`/console/buckets?env=${environment}`, withClipboard);
      await page.getByRole("button", { name: `Copy the ${title} example` }).click();
      await hasShown(page, `Copied the ${title} example.`);
      const code = await clipboardOf(page);
      expect(code).not.toContain(API_KEY);
      if (title === "curl") await run("sh", "-c", code);
      else await run(process.execPath, "--input-type=module", "--eval", code);
      await page.reload();
      await page.getByRole("link", { name: "sessions" }).click();
      await page.getByRole("option", { name: "user.1" }).waitFor();
      const entry = await clientOf(service, environment).bucket("sessions").get("user.1");
      expect(entry.json()).toEqual({ name: "Alice" });
    }
  });
});
