/** Backups made without a service, and read. */
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import type { BucketInfo, Operation } from "@ironflow-kv/client";
import { Entry } from "@ironflow-kv/client";
import { FIRST_LINE, type Frame } from "../../src/backup/format.js";
import { type Inspection, inspectStream } from "../../src/backup/inspect.js";
import { Ledger } from "../../src/backup/ledger.js";
import { bucketFrame, entryFrame, headerFrame } from "../../src/backup/records.js";

/** A backup of two buckets with a few entries each, as its frames. */
export function sampleFrames(): Frame[] {
  const ledger = new Ledger();
  const frames: Frame[] = [];
  const put = (frame: Frame): void => {
    ledger.append(frame);
    frames.push(frame);
  };
  put(headerFrame("0123456789abcdef0123456789abcdef", ["one", "two"]));
  for (const [name, operations] of [
    ["one", ["put", "delete", "put"]],
    ["two", ["put", "purge"]],
  ] as const) {
    put(bucketFrame(bucket(name)));
    operations.forEach((operation, index) =>
      put(entryFrame(entry("key", operation, BigInt(index * 2 + 1)), true)),
    );
    const { open } = ledger;
    if (open !== undefined) put(ledger.endOf(open, 10n));
  }
  put(ledger.footer());
  return frames;
}

export function fileOf(frames: readonly Frame[]): Buffer {
  return Buffer.concat([FIRST_LINE, ...frames.map(({ bytes }) => bytes)]);
}

/** The same, compressed as a file of this program is. */
export function compressed(file: Buffer): Buffer {
  return gzipSync(file);
}

/** Checks bytes that come in pieces of a size. */
export function inspected(file: Uint8Array, pieceBytes = 1_048_576): Promise<Inspection> {
  return inspectStream(Readable.from(pieces(Buffer.from(file), pieceBytes)));
}

function* pieces(file: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size);
}

function bucket(name: string): BucketInfo {
  return {
    name,
    description: "Ein Eimer",
    ttlSeconds: 3_600.5,
    maxValueSize: 1_000,
    maxBytes: 1_000_000,
    history: 5,
    values: 1,
    bytes: 1,
    createdAt: new Date(1_700_000_000_123),
    revision: 10n,
    replicas: 1,
    storage: "file",
    durability: "synced",
    idempotencyWindowMs: 60_000,
  };
}

function entry(key: string, operation: Operation, revision: bigint): Entry {
  const value = operation === "put" ? Buffer.from(`value ${String(revision)}`) : new Uint8Array(0);
  const createdAt = new Date(1_700_000_000_000);
  return Object.assign(Object.create(Entry.prototype) as Entry, {
    key,
    value,
    operation,
    revision,
    createdAt,
    contentType: "",
  });
}
