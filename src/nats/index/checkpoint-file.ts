/**
 * A file with the keys of an index: blocks of keys in their order, each with its length and a checksum. A file that was not written to its
 * end, or has changed since, is refused as a whole.
 */
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { KeyRun } from "./key-run.js";
import type { KeySnapshot, KeyTree } from "./key-tree.js";
import { KeyTreeBuilder } from "./key-tree-builder.js";

/** What a file has: its caller's facts, and trees of keys. */
export interface CheckpointFile<Tree = KeyTree> {
  readonly facts: string;
  readonly trees: readonly Tree[];
}

/** Changes with what the file has. */
const FORMAT = 2;
/** Keys of one block: a millisecond's work. */
const BLOCK_KEYS = 2_048;
/** Of a block: the number of its tree, or {@link HEAD}; the length and the checksum of what follows. */
const FRAME_WORDS = 4;
const HEAD = 0xffff_ffff;
/** No block is larger: keys have at most 64 KiB. */
const BLOCK_BYTES_MAX = 256 * 1_048_576;

/** Writes a file, or none if that fails. Other calls are served meanwhile. */
export async function writeCheckpointFile(
  path: string,
  { facts, trees }: CheckpointFile<KeySnapshot>,
): Promise<void> {
  const unfinished = `${path}.new`;
  try {
    const file = await open(unfinished, "w", 0o600);
    try {
      const head = { format: FORMAT, facts, keys: trees.map(({ size }) => size) };
      await writeBlock(file, HEAD, Buffer.from(JSON.stringify(head)));
      for (const [number, tree] of trees.entries()) await writeTree(file, number, tree);
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

async function writeTree(file: FileHandle, number: number, tree: KeySnapshot): Promise<void> {
  let run = new KeyRun();
  for (const cursor = tree.cursor(0); cursor.next();) {
    cursor.addTo(run);
    if (run.count < BLOCK_KEYS) continue;
    await writeBlock(file, number, run.toBytes());
    run = run.successor();
  }
  if (run.count > 0) await writeBlock(file, number, run.toBytes());
}

async function writeBlock(file: FileHandle, number: number, bytes: Buffer): Promise<void> {
  const frame = new Uint32Array([number, bytes.length, crc32(bytes), 0]);
  await file.writev([frame, bytes]);
}

/** Reads a file. Throws if there is none, or it is not complete. Other calls are served meanwhile. */
export async function readCheckpointFile(path: string): Promise<CheckpointFile> {
  const file = await open(path, "r");
  try {
    const head = await readBlock(file);
    if (head?.number !== HEAD) throw new Error("the file has no head");
    const { format, facts, keys } = JSON.parse(head.bytes.toString()) as {
      readonly format: number;
      readonly facts: string;
      readonly keys: readonly number[];
    };
    if (format !== FORMAT) throw new Error(`the file has the format ${format}`);
    const builders = keys.map(() => new KeyTreeBuilder());
    for (let block = await readBlock(file); block !== undefined; block = await readBlock(file)) {
      const builder = builders[block.number];
      if (builder === undefined) throw new Error("a block has an unknown tree");
      const run = KeyRun.ofBytes(block.bytes);
      for (let position = 0; position < run.count; position++) builder.add(run, position);
      await nextTurn();
    }
    const trees = builders.map((builder) => builder.finish());
    if (trees.some(({ size }, number) => size !== keys[number])) throw new Error("keys are missing");
    return { facts, trees };
  } finally {
    await file.close();
  }
}

interface Block {
  readonly number: number;
  readonly bytes: Buffer;
}

/** The next block; undefined at the end. */
async function readBlock(file: FileHandle): Promise<Block | undefined> {
  const frame = new Uint32Array(FRAME_WORDS);
  const { bytesRead } = await file.read(frame);
  if (bytesRead === 0) return undefined;
  const [number = 0, length = 0, checksum = 0] = frame;
  if (bytesRead < frame.byteLength || length > BLOCK_BYTES_MAX) throw new Error("a block is damaged");
  // Not of the pool: columns of numbers must be aligned.
  const bytes = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const read = await file.read(bytes, filled);
    if (read.bytesRead === 0) throw new Error("the file ends within a block");
    filled += read.bytesRead;
  }
  if (crc32(bytes) !== checksum) throw new Error("a block is damaged");
  return { number, bytes };
}
