/** The documentation says what the code does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { settingsTable } from "../src/config-table.js";
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
