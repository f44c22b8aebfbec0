/** The packed package, installed alone (with EXTENDED=1), and what README.md says. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DEFAULT_HTTP2_LIMITS } from "../src/limits.js";

const PACKAGE = join(import.meta.dirname, "..");
const npm = (folder: string, ...args: string[]): string =>
  execFileSync("npm", args, { cwd: folder, encoding: "utf8", shell: process.platform === "win32" });

const PROGRAM = `
import { createServer } from "node:net";
import { connect } from "node:http2";
import { DEFAULT_HTTP2_LIMITS, Http2Server } from "@ironflow-kv/http2";
const http2 = new Http2Server({
  limits: DEFAULT_HTTP2_LIMITS,
  onStream(stream) {
    stream.respond(200, {}, false);
    stream.end(Buffer.from("served " + stream.headers[":path"]));
  },
});
const server = createServer((socket) => {
  socket.on("error", () => {});
  http2.accept(socket);
});
server.listen(0, "127.0.0.1", () => {
  const session = connect("http://127.0.0.1:" + server.address().port);
  const stream = session.request({ ":path": "/x" });
  stream.on("data", (chunk) => process.stdout.write(chunk));
  stream.on("end", () => process.exit());
});
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "http2-package-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.runIf(process.env.EXTENDED === "1")(
  "serves a request when it is installed alone, without dependencies",
  () => {
    npm(PACKAGE, "pack", "--pack-destination", folder, "--silent");
    const [archive = ""] = readdirSync(folder);
    writeFileSync(join(folder, "package.json"), '{"type":"module","private":true}');
    npm(folder, "install", "--offline", "--no-audit", "--no-fund", "--silent", `./${archive}`);
    const modules = readdirSync(join(folder, "node_modules")).filter((name) => !name.startsWith("."));
    expect(modules).toEqual(["@ironflow-kv"]);
    expect(readdirSync(join(folder, "node_modules/@ironflow-kv"))).toEqual(["http2"]);
    writeFileSync(join(folder, "program.js"), PROGRAM);
    expect(execFileSync(process.execPath, ["program.js"], { cwd: folder, encoding: "utf8" })).toBe(
      "served /x",
    );
  },
);

const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");

it("README.md names every limit", () => {
  for (const name of Object.keys(DEFAULT_HTTP2_LIMITS)) expect(readme).toContain(`| \`${name}\``);
});

it("README.md names tests that exist for each attack", () => {
  const tests = ["attacks", "slow-clients", "requests"]
    .map((name) => readFileSync(join(PACKAGE, `test/${name}.test.ts`), "utf8"))
    .join();
  const table = /\| Attack [^]*?\n\n/.exec(readme)?.[0] ?? "";
  const rows = table.split("\n").slice(2).filter(Boolean);
  expect(rows.length).toBeGreaterThan(15);
  const missing = rows
    .flatMap((row) => row.split("|")[3]?.split(/; |, (?=by )/) ?? [])
    .map((name) => name.trim().replace(/^(SETTINGS …|PING …|requests) (?=whose)/, ""))
    .filter(
      (name) =>
        !tests.includes(name) && !tests.includes(name.replace("20,000 PING frames", "20,000 %s frames")),
    );
  expect(missing).toEqual([]);
});
