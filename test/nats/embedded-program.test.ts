import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram, packagedProgram } from "../../src/nats/embedded-program.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-program-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

describe("the nats-server program", () => {
  it("is the one that npm installed, unless one is named", async () => {
    expect(await findProgram(undefined)).toEqual({ program: packagedProgram(), source: "package" });
    const named = packagedProgram() ?? "";
    expect(await findProgram(relative(".", named))).toEqual({ program: named, source: "setting" });
  });

  it.each([
    ["missing", "/no/such/program", "is not a nats-server program that can be run"],
    ["something else", "/bin/true", "is not a nats-server program that can be run"],
  ])("is refused when the one named is %s", async (_, serverBin, sentence) => {
    await expect(findProgram(serverBin)).rejects.toThrow(sentence);
  });

  it("is refused when the one named is too old", async () => {
    const serverBin = join(scratch, "old-program");
    await writeFile(serverBin, '#!/bin/sh\necho "nats-server: v2.10.29"\n', { mode: 0o755 });
    await expect(findProgram(serverBin)).rejects.toThrow("is nats-server 2.10.29; 2.11 or newer is needed");
  });
});
