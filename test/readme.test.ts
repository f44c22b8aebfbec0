/** The README is true: each of its commands runs, in order, and answers as shown. Runs what was built. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect } from "vitest";
import { serviceTest } from "./support/fixtures.js";
import { spawn } from "./support/started.js";

const ROOT = join(import.meta.dirname, "..");
const run = promisify(execFile);
/** Runs what `npx` finds in this repository, without the second that npx takes to find it. */
const NPX =
  'npx() { case "$1" in ironflow-kv) shift; node dist/src/main.js "$@";; *) node_modules/.bin/"$@";; esac; }';

const it = serviceTest();

/** What differs from run to run. */
function steady(text: string): string {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>").trimEnd();
}

describe("README.md", () => {
  it("has commands that answer as it says", async ({ service }) => {
    const readme = await readFile(join(ROOT, "README.md"), "utf8");
    const blocks = [...readme.matchAll(/```console\n([^]*?)```/g)].map((match) => match[1] ?? "");
    const steps = blocks.flatMap((block) => block.split(/^\$ /m).slice(1));
    expect(steps.length).toBeGreaterThan(8);
    for (const step of steps) {
      const [command = "", ...answer] = step.split("\n");
      const script = `${NPX}\n${command.replaceAll("http://127.0.0.1:9123", service.url)}`;
      const { stdout } = await run("bash", ["-c", script], {
        cwd: ROOT,
        env: { ...process.env, IRONFLOW_SERVER: service.url },
      }).catch((error: unknown) => error as { stdout: string });
      expect(`$ ${command}\n${steady(stdout)}`).toBe(`$ ${command}\n${steady(answer.join("\n"))}`);
    }
  });
});

describe("npm start", () => {
  it("serves what was built, keeps its data across restarts, and leaves with code 0 on SIGTERM", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "ironflow-start-"));
    try {
      for (const round of [1, 2]) {
        const child = spawn(
          process.execPath,
          ["dist/src/main.js", "serve", "--port", "0", "--data-dir", dataDir],
          {
            cwd: ROOT,
            stdio: ["ignore", "pipe", "inherit"],
          },
        );
        const url = await readyUrl(child.stdout);
        if (round === 1) {
          const made = await fetch(`${url}/api/v1/kv/buckets`, { method: "POST", body: '{"name":"kept"}' });
          expect(made.status).toBe(201);
          await fetch(`${url}/api/v1/kv/buckets/kept/keys/k`, { method: "PUT", body: "value" });
        }
        const read = await fetch(`${url}/api/v1/kv/buckets/kept/keys/k?raw=true`);
        expect(await read.text()).toBe("value");
        child.kill("SIGTERM");
        const [code] = (await once(child, "exit")) as [number | null];
        expect(code).toBe(0);
      }
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  it.each([
    [["--port", "99999"], /^ironflow-kv: PORT is "99999"; it must be a whole number from 0 to 65535\.\n$/],
    [["--durability", "maybe"], /^ironflow-kv: DURABILITY is "maybe"; it must be safe or relaxed\.\n$/],
    [
      ["--host", "0.0.0.0"],
      /^ironflow-kv: HOST is 0\.0\.0\.0, which other machines can reach, and no API key is set; .*\n$/,
    ],
    [["--tls-cert", "x"], /^ironflow-kv: Only one of TLS_CERT and TLS_KEY is set; set both or neither\.\n$/],
    [["--no-such-setting", "1"], /unknown option/],
  ])("stops with one line and code 2 for %j", async (flags, line) => {
    const failure = await run(process.execPath, ["dist/src/main.js", "serve", ...flags], { cwd: ROOT }).then(
      () => undefined,
      (error: unknown) => error as { code: number; stderr: string },
    );
    expect(failure?.stderr).toMatch(line);
    expect(failure?.code).toBe(2);
  });
});

async function readyUrl(stdout: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  for await (const chunk of stdout) {
    text += String(chunk);
    const url = /"url":"([^"]+)"/.exec(text)?.[1];
    if (url !== undefined) {
      stdout.resume();
      return url;
    }
  }
  throw new Error(`the service ended: ${text}`);
}
