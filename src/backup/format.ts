/**
 * The backup file format: a first line, then framed records. docs/backup.md specifies it for other programs; ledger.ts checks the order
 * and the checksums of the records.
 */
import { crc32 } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Record as BackupRecord, RecordSchema } from "../../gen/ironflow/kv/backup/v1/backup_pb.js";

export type { BackupRecord };

const FORMAT_VERSION = 1;
/** The first line: readable text that identifies the file. */
export const FIRST_LINE = Buffer.from(`ironflow-kv backup ${FORMAT_VERSION}\n`);
const FIRST_LINE_SHAPE = /^ironflow-kv backup (\d{1,9})\n/;
const FIRST_LINE_BYTES_MAX = 32;

const LENGTH_BYTES = 4;
/** A frame's length and checksum; the record follows. */
export const FRAME_HEAD_BYTES = 8;
/** Larger than the largest configurable value with its key. */
const RECORD_BYTES_MAX = 16 * 1_048_576;

/** `version`: an incompatible version of this program wrote the file. */
export type BackupProblem = "not_a_backup" | "version" | "truncated" | "damaged" | "checksum";

/** The file is not a complete, intact backup. The message says where and why. */
export class BackupError extends Error {
  override readonly name = "BackupError";
  constructor(
    readonly problem: BackupProblem,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A record and its framed bytes, as stored in the file. */
export interface Frame {
  readonly record: BackupRecord;
  readonly bytes: Uint8Array;
}

/** Frames a record. */
export function frameOf(record: NonNullable<MessageInitShape<typeof RecordSchema>["record"]>): Frame {
  const message = create(RecordSchema, { record });
  const payload = toBinary(RecordSchema, message);
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + payload.length);
  bytes.writeUInt32BE(payload.length, 0);
  bytes.set(payload, FRAME_HEAD_BYTES);
  bytes.writeUInt32BE(checksumOf(bytes), LENGTH_BYTES);
  return { record: message, bytes };
}

/** The record's length, from the frame's header. `at`: the frame's offset, for the error. Throws BackupError. */
export function recordBytes(head: Buffer, at: number): number {
  const length = head.readUInt32BE(0);
  if (length > RECORD_BYTES_MAX) throw damaged(at);
  return length;
}

/** Reads a frame. Throws BackupError. */
export function parseFrame(bytes: Buffer, at: number): Frame {
  if (bytes.readUInt32BE(LENGTH_BYTES) !== checksumOf(bytes)) throw damaged(at);
  try {
    return { record: fromBinary(RecordSchema, bytes.subarray(FRAME_HEAD_BYTES)), bytes };
  } catch (error) {
    throw damaged(at, error);
  }
}

/** The length of the first line; undefined if more bytes are needed. Throws BackupError if the file is not a backup. */
export function firstLineBytes(start: Buffer, isAll: boolean): number | undefined {
  const [line, version] = FIRST_LINE_SHAPE.exec(start.toString("latin1", 0, FIRST_LINE_BYTES_MAX)) ?? [];
  if (line !== undefined) {
    if (Number(version) === FORMAT_VERSION) return line.length;
    const age = Number(version) > FORMAT_VERSION ? "a newer" : "an older";
    throw new BackupError(
      "version",
      `The file has format ${version ?? ""}, written by ${age} version of ironflow-kv; this version reads format ${FORMAT_VERSION}.`,
    );
  }
  if (FIRST_LINE.subarray(0, start.length).equals(start)) {
    if (!isAll) return undefined;
    throw new BackupError("truncated", "The file ends before its first record.");
  }
  if (start.length < FIRST_LINE_BYTES_MAX && !isAll) return undefined;
  throw new BackupError("not_a_backup", "The file is not an ironflow-kv backup.");
}

export function damaged(at: number, cause?: unknown): BackupError {
  return new BackupError("damaged", `The file is damaged at byte ${at}.`, { cause });
}

/** CRC-32 of the length and the record. */
function checksumOf(frame: Buffer): number {
  return crc32(frame.subarray(FRAME_HEAD_BYTES), crc32(frame.subarray(0, LENGTH_BYTES)));
}
