/** The arrows between the folders, as docs/ARCHITECTURE.md draws them, and other rules that hold for all code. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..");

/** Which of our folders each folder may import. Files straight in src/ wire things and may import all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  kv: ["kv"],
  nats: ["nats", "kv"],
  service: ["service", "kv", "gen"],
  auth: ["auth", "service", "kv", "gen"],
  config: ["config", "auth", "kv"],
  listener: ["listener", "protocol", "kv"],
  protocol: ["protocol", "service", "kv", "gen"],
  telemetry: ["telemetry", "service", "kv"],
  backup: ["backup", "gen"],
  cli: ["cli", "backup", "config"],
};

const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => `src/${file.replaceAll("\\", "/")}`)
  .filter((file) => file.endsWith(".ts"));

function importsOf(file: string): { target: string }[] {
  const source = readFileSync(join(ROOT, file), "utf8");
  const pattern = /(?:import|export)\s+[^;]*?from\s+"(\.[^"]+)"|import\(\s*"(\.[^"]+)"\s*\)/g;
  return [...source.matchAll(pattern)].map((match) => ({
    target: normalize(join(dirname(file), match[1] ?? match[2] ?? "")).replaceAll("\\", "/"),
  }));
}

describe("the packages", () => {
  it.each([
    ["http2", []],
    ["client", ["gen/"]],
  ])("%s imports nothing of ours but itself%s", (name, others) => {
    const folder = `packages/${name}/src/`;
    const sources = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => folder + file.replaceAll("\\", "/"));
    const targets = sources.flatMap((file) => importsOf(file).map(({ target }) => target));
    expect(sources.length).toBeGreaterThan(10);
    expect(targets.filter((target) => ![folder, ...others].some((own) => target.startsWith(own)))).toEqual(
      [],
    );
  });

  it("of the SDK is imported by the command line and backups only", () => {
    const users = files.filter((file) =>
      readFileSync(join(ROOT, file), "utf8").includes('"@ironflow-kv/client"'),
    );
    expect(users.filter((file) => !/^src\/(cli|backup)\//.test(file))).toEqual([]);
  });
});

/** Which folders of console/src each of them may import. Files straight in console/src wire the screens. */
const CONSOLE_MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  ui: [],
  api: [],
  live: ["api"],
  screens: ["ui", "api", "live"],
};

describe("the folders of the console", () => {
  const sources = readdirSync(join(ROOT, "console/src"), { recursive: true, encoding: "utf8" })
    .map((file) => `console/src/${file.replaceAll("\\", "/")}`)
    .filter((file) => /\.tsx?$/.test(file));

  it.each(sources.filter((file) => file.split("/").length > 3))("%s imports only what it may", (file) => {
    const folder = file.split("/")[2] ?? "";
    const allowed = CONSOLE_MAY_IMPORT[folder];
    expect(allowed, `console/src/${folder} has no rule; add one`).toBeDefined();
    for (const { target } of importsOf(file)) {
      const [top, , place] = target.split("/");
      expect(top, `${file} imports ${target}`).toBe("console");
      expect([folder, ...(allowed ?? [])], `${file} imports ${target}`).toContain(place);
    }
  });

  it("call the service by the generated contract only", () => {
    const packages = new Set(
      sources.flatMap((file) =>
        [
          ...readFileSync(join(ROOT, file), "utf8").matchAll(
            /^(?:import .*|\} )from "(@ironflow-kv\/[^"]+)"/gm,
          ),
        ].map(([, name]) => name),
      ),
    );
    expect([...packages]).toEqual(["@ironflow-kv/client/gen"]);
  });

  it("keep their files at a size that can be read in one go", () => {
    expect(sources.filter((file) => codeLines(file) > 260)).toEqual([]);
  });
});

/** Which folders of src/nats each of them may import. Files straight in src/nats wire the store and may import all. */
const NATS_MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  client: [],
  embedded: ["client"],
  streams: ["client"],
  read: ["client", "streams"],
  feed: ["client", "streams", "read"],
  index: ["client", "streams", "read", "feed"],
  buckets: ["client", "embedded", "streams", "read", "feed", "index"],
  write: ["client", "embedded", "streams", "read", "feed", "index", "buckets"],
  watch: ["client", "streams", "read", "feed", "index"],
};

describe("the folders of src/nats", () => {
  const inFolders = files.filter((file) => file.startsWith("src/nats/") && file.split("/").length > 3);

  it.each(inFolders)("%s imports only what it may", (file) => {
    const folder = file.split("/")[2] ?? "";
    const allowed = NATS_MAY_IMPORT[folder];
    expect(allowed, `src/nats/${folder} has no rule; add one`).toBeDefined();
    for (const { target } of importsOf(file)) {
      if (!target.startsWith("src/nats/")) continue;
      const parts = target.split("/");
      expect([folder, ...(allowed ?? [])], `${file} imports ${target}`).toContain(
        parts.length > 3 ? parts[2] : "src/nats itself",
      );
    }
  });
});

describe("the arrows between the folders", () => {
  it.each(files.filter((file) => file.split("/").length > 2))("%s imports only what it may", (file) => {
    const folder = file.split("/")[1] ?? "";
    const allowed = MAY_IMPORT[folder];
    expect(allowed, `src/${folder} has no rule; add one`).toBeDefined();
    for (const { target } of importsOf(file)) {
      const [top, second] = target.split("/");
      const place = top === "gen" ? "gen" : top === "src" ? second : `outside: ${target}`;
      expect(allowed, `${file} imports ${target}`).toContain(place);
    }
  });

  it("only main.ts reads the environment and arguments, writes to the terminal, handles signals or ends the process", () => {
    const touching = files.filter((file) =>
      /\bprocess\.(env|argv|exit|exitCode|on|once|stdin|stdout|stderr|chdir)\b/.test(withoutComments(file)),
    );
    expect(touching.filter((file) => file !== "src/main.ts")).toEqual([]);
  });

  it("only the listener and the WebSocket handshake know Node's HTTP classes", () => {
    const users = files.filter((file) =>
      /\b(IncomingMessage|ServerResponse|ServerHttp2Stream|Http2Server(Request|Response))\b/.test(
        withoutComments(file),
      ),
    );
    expect(users.filter((file) => !file.startsWith("src/listener/"))).toEqual(["src/protocol/exchange.ts"]);
  });

  it("the protocols cast no type by way of unknown, and tell no transports apart by their fields", () => {
    const casting = files.filter((file) => /as unknown as|"stream" in /.test(withoutComments(file)));
    expect(casting.filter((file) => /^src\/(protocol|listener|config|[^/]*\.ts$)/.test(file))).toEqual([]);
  });

  it("only link.ts subscribes at a NATS connection: there exceptions of callbacks are caught", () => {
    const subscribing = files.filter((file) => {
      const source = withoutComments(file);
      return /[cC]onnection\??\.subscribe\(/.test(source) || /from "@nats-io\/(kv|jetstream)"/.test(source);
    });
    expect(subscribing).toEqual(["src/nats/client/link.ts"]);
  });

  it("keeps files at a size that can be read in one go", () => {
    const long = files
      .filter((file) => codeLines(file) > 260)
      .map((file) => `${relative(".", file)}: ${codeLines(file)}`);
    expect(long).toEqual([]);
  });
});

function withoutComments(file: string): string {
  return readFileSync(join(ROOT, file), "utf8").replace(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
}

function codeLines(file: string): number {
  return withoutComments(file)
    .split("\n")
    .filter((line) => line.trim() !== "").length;
}
