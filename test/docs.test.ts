/** The documentation says what the code does. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { settingsTable } from "../src/config/table.js";
import { KV_ERROR_KINDS } from "../src/kv/errors.js";
import { CODE_BY_KIND } from "../src/service/errors.js";

const doc = (name: string): string => readFileSync(join(import.meta.dirname, "../docs", name), "utf8");

describe("docs/settings.md", () => {
  it("has the table of settings that the code has", () => {
    const squeeze = (table: string): string => table.replace(/ +/g, " ").replace(/-+/g, "-");
    expect(squeeze(doc("settings.md"))).toContain(squeeze(settingsTable()));
  });
});

describe("docs/errors.md", () => {
  const rows = [...doc("errors.md").matchAll(/^\| `(\w+)` +\| ([A-Z_]+) /gm)].map(([, kind, code]) => [
    kind,
    code,
  ]);

  it("has every kind of error with its code, and no other", () => {
    const screaming = (code: Code): string =>
      Code[code].replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(KV_ERROR_KINDS.map((kind) => [kind, screaming(CODE_BY_KIND[kind])])),
    );
  });
});

describe("docs/operations.md", () => {
  /** Whether a part of a sentence, between what is filled in, is there; so where all of it is filled in. */
  const has = (page: string, sentence: string): boolean => {
    const parts = sentence.split(/\$\{[^}]*\}/).map((part) => part.trim());
    const steady = parts.filter((part) => part.length > 12);
    return steady.length === 0 || steady.some((part) => page.includes(part));
  };
  const folder = join(import.meta.dirname, "../src");
  const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(folder, file), "utf8"));
  const sentences = sources.flatMap((source) =>
    [...source.matchAll(/(?:new StartError\(|\bsentence:)\s*(?:"([^"]*)"|`([^`]*)`)/g)].map(
      ([, plain, filled]) => plain ?? filled ?? "",
    ),
  );

  it("says what to do about everything that keeps the service from starting", () => {
    expect(sentences.length).toBeGreaterThan(15);
    const inner = "The embedded nats-server was stopped.";
    const page = doc("operations.md");
    const missing = sentences.filter((sentence) => sentence !== inner && !has(page, sentence));
    expect(missing).toEqual([]);
  });

  it("quotes only what the service says", () => {
    const quoted = [...doc("operations.md").matchAll(/^\| `([A-Z…][^`]*[.…:])` /gm)].map(
      ([, sentence = ""]) => sentence,
    );
    expect(quoted.length).toBeGreaterThan(20);
    const said = sources.join("\n");
    const unsaid = quoted.filter((sentence) =>
      sentence.split("…").some((part) => !said.includes(part.trim())),
    );
    expect(unsaid).toEqual([]);
  });
});
