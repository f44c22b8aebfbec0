/** Spans, sizes and texts, as people write and read them. */
import { describe, expect, it } from "vitest";
import { preview, printable, table } from "../../src/cli/text.js";
import {
  formatBytes,
  formatSeconds,
  parseBytes,
  parseDurationMs,
  parseRevision,
} from "../../src/cli/units.js";

describe("spans of time", () => {
  it.each([
    ["500ms", 500],
    ["90s", 90_000],
    ["30m", 1_800_000],
    ["1h30m", 5_400_000],
    ["7d", 604_800_000],
    ["1.5h", 5_400_000],
    ["60", 60_000],
    ["0", 0],
  ])("reads %s", (text, milliseconds) => expect(parseDurationMs(text)).toBe(milliseconds));

  it.each(["", "x", "5x", "-1s", "1h 30m", "h", "1e3", " 1s"])("refuses %j", (text) =>
    expect(() => parseDurationMs(text)).toThrow(/Expected a duration/),
  );

  it.each([
    [0, "-"],
    [5_400, "1h30m"],
    [90, "1m30s"],
    [0.5, "500ms"],
    [86_400 * 2, "2d"],
  ])("writes %d seconds as %s", (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
});

describe("sizes", () => {
  it.each([
    ["512", 512],
    ["512B", 512],
    ["64KiB", 65_536],
    ["10MB", 10_000_000],
    ["10 mb", 10_000_000],
    ["1.5GiB", 1_610_612_736],
    ["1kB", 1_000],
  ])("reads %s", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each(["", "x", "-1", "1XB", "0.3", "1e9", "99999TiB9"])("refuses %j", (text) =>
    expect(() => parseBytes(text)).toThrow(/Expected a size/),
  );

  it.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_536, "1.5 KiB"],
    [65_536, "64 KiB"],
    [10_000_000, "10 MB"],
    [10_485_760, "10 MiB"],
  ])("writes %d as %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe("revisions", () => {
  it("reads them exactly", () => expect(parseRevision("18446744073709551615")).toBe(18446744073709551615n));
  it.each(["", "0", "-1", "1.5", "0x1", "x"])("refuses %j", (text) =>
    expect(() => parseRevision(text)).toThrow(/1 or more/),
  );
});

describe("text for terminals", () => {
  it.each([
    ["a\nb\tc", "a\\nb\\tc"],
    ["\u001b[31m", "\\u001b[31m"],
    ["\u009b1m", "\\u009b1m"],
    ["a\u202eb", "a\\u202eb"],
    ["Grüße 👋", "Grüße 👋"],
  ])("writes %j without anything that steers", (text, shown) => expect(printable(text)).toBe(shown));

  it("cuts a long value between characters, and counts bytes that are not text", () => {
    expect(preview(new TextEncoder().encode("👋".repeat(20)), 12)).toBe(`${"👋".repeat(11)}…`);
    expect(preview(Uint8Array.of(0xff), 12)).toBe("<1 bytes>");
  });

  it("puts columns in line, numbers to the right", () => {
    const rows = [
      ["a", 1, "x"],
      ["bbb", 100, ""],
    ];
    expect(table(["NAME", "N", "TEXT"], rows)).toEqual(["NAME    N  TEXT", "a       1  x", "bbb   100"]);
  });
});
