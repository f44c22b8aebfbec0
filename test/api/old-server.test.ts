/** On a nats-server older than 2.15.1 the service never says `synced`, and warns at each start. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { type StartOptions, startService } from "../../src/embed.js";
import { installedPaths } from "../../src/nats/embedded/server-program.js";
import { capabilitiesOf, isAtLeast, isSupported } from "../../src/nats/client/server-version.js";
import { relayAs, type VersionRelay } from "../nats/version-relay.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { WAIT } from "../support/until.js";

let server: TestNatsServer;
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-old-"));
  server = await startNatsServer();
});
afterAll(async () => {
  await server.remove();
  await rm(scratch, { recursive: true, force: true });
});

const WARNING = /^nats-server (\S+) may lose acknowledged writes in a power failure, whatever DURABILITY is/;

interface Seen {
  readonly durability: string;
  readonly warnings: string[];
}

let lastBucket = 0;

/** Starts a service, creates a bucket in it, and returns what both say. */
async function start(options: StartOptions): Promise<Seen> {
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line) => void lines.push(line) });
  const service = await startService({ ...options, logger });
  try {
    const kv = createClient({ serverUrl: service.url }).kv();
    const { durability } = await kv.createBucket({ name: `b${++lastBucket}` });
    return { durability, warnings: lines.map((line) => (JSON.parse(line) as { msg: string }).msg) };
  } finally {
    await service.stop();
  }
}

describe.each([
  ["2.14.0", false],
  ["2.14.9", false],
  ["2.15.0", false],
  ["2.15.1-RC.2", false],
  ["2.15.1", true],
  ["2.16.0-beta.1", true],
])("a server of version %s", (version, isReliable) => {
  let relay: VersionRelay;
  beforeAll(async () => {
    relay = await relayAs(version, server.port);
  });
  afterAll(() => relay.stop());

  it(`at NATS_URL ${isReliable ? "may or may not sync" : "is warned of, and its buckets are relaxed"}`, async () => {
    const seen = await start({ settings: { port: "0", "nats-url": relay.url } });
    expect(seen.durability).toBe(isReliable ? "unknown" : "relaxed");
    const warned = seen.warnings.filter((line) => WARNING.test(line));
    expect(warned).toEqual(
      isReliable ? [] : [expect.stringContaining("Upgrade the server at NATS_URL to 2.15.1")],
    );
    expect(warned.map((line) => WARNING.exec(line)?.[1])).toEqual(isReliable ? [] : [version]);
  });

  it(`that workers share ${isReliable ? "syncs each write" : "is never said to sync, though it is told to"}`, async () => {
    const settings = { port: "0", "nats-url": relay.url, "data-dir": scratch, durability: "safe" };
    const seen = await start({ settings, isEmbeddedElsewhere: true });
    // The first process, which runs the server, warns.
    expect(seen).toEqual({ durability: isReliable ? "synced" : "relaxed", warnings: [] });
  });

  it("has the capabilities of its version", () => {
    expect(isSupported(version)).toBe(true);
    expect(capabilitiesOf(version)).toEqual({ keepsSyncedWrites: isReliable, atomicBatches: isReliable });
  });
});

it("a server at NATS_URL that is replaced by an old one is warned of, and its buckets are relaxed from then on", async () => {
  const relay = await relayAs("2.15.1", server.port);
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line) => void lines.push(line) });
  const service = await startService({ settings: { port: "0", "nats-url": relay.url }, logger });
  try {
    const kv = createClient({ serverUrl: service.url }).kv();
    const name = `b${++lastBucket}`;
    expect((await kv.createBucket({ name })).durability).toBe("unknown");
    for (const version of ["2.14.0", "2.15.1", "2.14.0"]) {
      relay.become(version);
      const expected = version === "2.15.1" ? "unknown" : "relaxed";
      await vi.waitUntil(async () => (await kv.getBucketInfo(name)).durability === expected, WAIT);
    }
    const warned = lines.filter((line) => line.includes("nats-server 2.14.0 may lose acknowledged writes"));
    expect(warned).toHaveLength(2);
  } finally {
    await service.stop();
    await relay.stop();
  }
});

const { fallback } = installedPaths(
  join(import.meta.dirname, "../../embedded"),
  process.platform,
  process.arch,
);
const oldProgram = [process.env.OLD_NATS_SERVER_BIN, fallback].find(
  (program) => program !== undefined && existsSync(program),
);
if (oldProgram === undefined)
  console.info("Skipped: it needs nats-server 2.14.0 (npm ci --prefix embedded, or OLD_NATS_SERVER_BIN).");

describe.runIf(oldProgram !== undefined)("nats-server 2.14.0 as the embedded server", () => {
  it("is warned of at each start, with how to get a newer one, and its buckets are relaxed", async () => {
    const settings = {
      port: "0",
      "data-dir": join(scratch, "embedded"),
      durability: "safe",
      "nats-server-bin": oldProgram,
    };
    for (let round = 0; round < 2; round++) {
      const { durability, warnings } = await start({ settings });
      expect(durability).toBe("relaxed");
      expect(warnings).toEqual([expect.stringMatching(WARNING)]);
      expect(warnings[0]).toContain("Set NATS_SERVER_BIN to nats-server 2.15.1 or newer.");
    }
  });
});

describe("versions", () => {
  it.each([
    ["2.15.1", "2.15.1", true],
    ["v2.15.1", "2.15.1", true],
    ["2.15.10", "2.15.9", true],
    ["2.9.30", "2.14.0", false],
    ["3.0.0", "2.15.1", true],
    ["2.15", "2.15.0", true],
    ["2.15.1-beta", "2.15.1", false],
    ["", "2.14.0", false],
    ["development", "2.14.0", false],
  ])("%j is at least %s: %s", (version, oldest, expected) => {
    expect(isAtLeast(version, oldest)).toBe(expected);
  });
});
