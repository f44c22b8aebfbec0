/** docs/security.md is true: its commands run, in order, and answer as shown but for what differs from run to run. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { startTestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

function steady(text: string): string {
  return text
    .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+Z?/g, "<time>")
    .replace(/(ifkey_|ifticket_)[0-9a-f]{40}/g, "$1<secret>")
    .replace(/\b[0-9a-f]{16}\b/g, "<id>")
    .replace(/ +/g, " ")
    .trimEnd();
}

it("docs/security.md has commands that answer as it says", async () => {
  const service = await startTestService({ "api-key": "the-root-key-of-tests" });
  try {
    const doc = await readFile(join(ROOT, "docs/security.md"), "utf8");
    const blocks = [...doc.matchAll(/```console\n([^]*?)```/g)].map((match) => match[1] ?? "");
    const steps = blocks.flatMap((block) => block.split(/^\$ /m).slice(1));
    expect(steps).toHaveLength(3);
    for (const step of steps) {
      const [command = "", ...answer] = step.split("\n");
      const { stdout } = await run("bash", ["-c", command.replaceAll("http://127.0.0.1:9123", service.url)], {
        cwd: ROOT,
        env: {
          ...process.env,
          IRONFLOW_SERVER: service.url,
          IRONFLOW_API_KEY: "the-root-key-of-tests",
        },
      });
      expect(`$ ${command}\n${steady(stdout)}`).toBe(`$ ${command}\n${steady(answer.join("\n"))}`);
    }
  } finally {
    await service.remove();
  }
});
