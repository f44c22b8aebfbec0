/** The metadata of streams, as nats-server leaves it where it ends in the middle of a change. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectNats } from "../../src/nats/client/connect.js";
import { startEmbedded } from "../../src/nats/embedded/embedded-server.js";
import { highwayHash64 } from "../../src/nats/embedded/highway-hash.js";
import { STORE_FOLDER } from "../../src/nats/embedded/server-config.js";
import { repairStreamMetadata } from "../../src/nats/embedded/stream-metadata.js";

const PACKET_BYTES = 32;

let dataDir: string;
let streams: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "ironflow-metadata-"));
  streams = join(dataDir, STORE_FOLDER, "$G", "streams");
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

/** Runs a server on the data directory, for as long as `use` takes. Returns its warnings. */
async function whileRunning(
  use: (manager: JetStreamManager, publish: () => Promise<unknown>) => Promise<unknown>,
): Promise<string[]> {
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (line: string) => warnings.push(line), error: () => undefined };
  const server = await startEmbedded({ dataDir, durability: "safe", log });
  try {
    const { connection } = await connectNats({ servers: server.url, user: server.user, pass: server.pass });
    const manager = await jetstreamManager(connection);
    await use(manager, () => jetstream(connection).publish("s.1", "value"));
    await connection.close();
  } finally {
    await server.stop();
  }
  return warnings;
}

it("computes the checksums that nats-server writes, for many lengths of the last packet", async () => {
  await whileRunning(async (manager) => {
    for (let length = 0; length < PACKET_BYTES; length++)
      await manager.streams.add({
        name: `s${String(length).padStart(2, "0")}`,
        subjects: [`s${length}`.padEnd(4, "x")],
        description: "d".repeat(length + 1),
      });
  });
  const remainders = new Set<number>();
  for (const name of await readdir(streams)) {
    const metadata = await readFile(join(streams, name, "meta.inf"));
    const checksum = await readFile(join(streams, name, "meta.sum"), "utf8");
    remainders.add(metadata.length % PACKET_BYTES);
    expect(highwayHash64(createHash("sha256").update(name).digest(), metadata)).toBe(checksum);
  }
  // nats-server drops zeros at the end of a time, so not each length is certain to occur.
  expect(remainders.size).toBeGreaterThan(PACKET_BYTES / 2);
});

it("keeps a stream whose change ended before its checksum was written", async () => {
  const checksumFile = join(streams, "s", "meta.sum");
  let earlier = "";
  await whileRunning(async (manager, publish) => {
    await manager.streams.add({ name: "s", subjects: ["s.>"] });
    await publish();
    earlier = await readFile(checksumFile, "utf8");
    await manager.streams.update("s", { description: "changed" });
  });
  await writeFile(checksumFile, earlier);
  await utimes(checksumFile, 0, 0);
  const warnings = await whileRunning(async (manager) => {
    const { config, state } = await manager.streams.info("s");
    expect([config.description, state.messages]).toEqual(["changed", 1]);
  });
  expect(warnings).toContain("Completed an interrupted change of the stream s.");
});

it("leaves damaged metadata alone: it is older than its checksum, or no metadata of this stream", async () => {
  await whileRunning((manager) => manager.streams.add({ name: "s", subjects: ["s.>"] }));
  const metadataFile = join(streams, "s", "meta.inf");
  const checksumFile = join(streams, "s", "meta.sum");
  const checksum = await readFile(checksumFile, "utf8");
  const metadata = await readFile(metadataFile, "utf8");
  const { mtimeMs } = await stat(checksumFile);
  const cases = [
    { content: metadata.replace("s.>", "x.>"), ageMs: 1_000 },
    { content: metadata.replace('"name":"s"', '"name":"x"'), ageMs: -1_000 },
    { content: metadata.slice(0, 20), ageMs: -1_000 },
  ];
  for (const { content, ageMs } of cases) {
    await writeFile(metadataFile, content);
    const time = new Date(mtimeMs - ageMs);
    await utimes(metadataFile, time, time);
    expect(await repairStreamMetadata(join(dataDir, STORE_FOLDER))).toEqual([]);
    expect(await readFile(checksumFile, "utf8")).toBe(checksum);
  }
});
