/**
 * The commands of docs/clients.md, each in a checkout without node_modules, where its toolchain is installed. EXTENDED=1 installs those of
 * Python, Java and Go.
 */
import { execFile, spawnSync } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IS_EXTENDED } from "../support/extended.js";
import { startTestService, type TestService } from "../support/service.js";
import { bringGoPrograms, bringGrpcJava, bringPythonGrpc } from "./toolchains.js";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const tools = IS_EXTENDED ? await mkdtemp(join(tmpdir(), "ironflow-tools-")) : undefined;
const installed =
  tools === undefined
    ? []
    : [
        await bringPythonGrpc(join(tools, "python")),
        (await bringGrpcJava(join(tools, "java")))?.programs,
        await bringGoPrograms(join(tools, "go")),
      ];
const PATH = [...installed, join(ROOT, "node_modules/.bin"), process.env.PATH]
  .filter((path) => path !== undefined)
  .join(delimiter);

/** By the first word of a snippet that tells it: how to see whether its toolchain is there. */
const TOOLCHAINS: Readonly<Record<string, string>> = {
  "buf export": "buf --version",
  "buf generate": "command -v protoc-gen-go && command -v protoc-gen-go-grpc",
  grpc_tools: "python -c 'import grpc_tools, google.api'",
  "--grpc-java_out": "command -v protoc && command -v protoc-gen-grpc-java",
  grpcurl: "command -v grpcurl",
  ghz: "command -v ghz",
};

const document = await readFile(join(ROOT, "docs/clients.md"), "utf8");
const snippets = [...document.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, text = ""]) => {
  const [tool = "", probe = "false"] = Object.entries(TOOLCHAINS).find(([word]) => text.includes(word)) ?? [];
  const isThere = spawnSync("bash", ["-c", probe], { env: { ...process.env, PATH } }).status === 0;
  return { tool, text, isThere };
});
const missing = new Set(snippets.filter(({ isThere }) => !isThere).map(({ tool }) => tool));
if (missing.size > 0)
  console.log(`Commands of docs/clients.md are skipped: there is no ${[...missing].join(", ")}.`);

describe("docs/clients.md", () => {
  let service: TestService;
  let checkout: string;
  beforeAll(async () => {
    service = await startTestService();
    checkout = await mkdtemp(join(tmpdir(), "ironflow-checkout-"));
    for (const path of ["buf.yaml", "buf.gen.yaml", "proto", "third_party"]) {
      await cp(join(ROOT, path), join(checkout, path), { recursive: true, verbatimSymlinks: true });
    }
  });
  afterAll(async () => {
    await service.remove();
    await rm(checkout, { recursive: true, force: true });
    if (tools !== undefined) await rm(tools, { recursive: true, force: true });
  });

  it("has a toolchain for every command", () => {
    expect(snippets.filter(({ tool }) => tool === "")).toEqual([]);
    expect(snippets.length).toBeGreaterThan(5);
  });

  it.each(snippets.filter(({ isThere }) => isThere))("$tool: its command works", async ({ text }) => {
    const script = text.replaceAll("127.0.0.1:9123", `127.0.0.1:${service.port}`);
    await run("bash", ["-euc", script], { cwd: checkout, env: { ...process.env, PATH }, timeout: 80_000 });
  });

  it.each([
    ["go", "clients/go/example_test.go"],
    ["rust", "test/clients/tonic/build.rs"],
  ])("has lines in %s that the tests of its client compile", async (language, file) => {
    const lines = (text: string): string[] => text.split("\n").map((line) => line.trim());
    const [, snippet = ""] = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "m").exec(document) ?? [];
    const code = lines(snippet).filter((line) => line.length > 1 && !line.startsWith("fn main"));
    expect(code.length).toBeGreaterThan(2);
    expect(lines(await readFile(join(ROOT, file), "utf8"))).toEqual(expect.arrayContaining(code));
  });

  it("exports the contract without files of others", async () => {
    const output = join(checkout, "exported");
    const args = ["export", "proto", "--exclude-imports", "--output", output];
    await run(join(ROOT, "node_modules/.bin/buf"), args, { cwd: checkout });
    const files = (await readdir(output, { recursive: true })).filter((file) => file.endsWith(".proto"));
    expect(files.filter((file) => !file.startsWith("ironflow/kv/"))).toEqual([]);
    expect(files.length).toBeGreaterThan(4);
  });
});
