/** Stored cases: files of test/corpus, one JSON object each. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../corpus");

export interface StoredCase {
  /** What the case found, or why it is here. */
  readonly finding: string;
  /** The fuzzer's seed and the number of the case; absent if a person wrote it. */
  readonly seed?: number;
  readonly index?: number;
  /** Hexadecimal, in the order sent. */
  readonly frames: readonly string[];
  /** Absent: the frames are mutated, and only our server's behaviour is checked. */
  readonly expected?: { readonly complete: readonly number[]; readonly violation?: string };
}

export function readCorpus(): { readonly name: string; readonly stored: StoredCase }[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => ({ name, stored: JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as StoredCase }));
}

/** Writes a case and returns its path. */
export function store(name: string, stored: StoredCase): string {
  mkdirSync(FOLDER, { recursive: true });
  const path = join(FOLDER, `${name}.json`);
  writeFileSync(path, `${JSON.stringify(stored, undefined, 2)}\n`);
  return path;
}

/** Removes frames, then bytes at the end of frames, as long as the case still fails. */
export async function minimise(
  frames: readonly Buffer[],
  fails: (frames: readonly Buffer[]) => Promise<boolean>,
  canCutFrames: boolean,
): Promise<Buffer[]> {
  let best = [...frames];
  for (let size = Math.max(1, best.length >> 1); size >= 1; size >>= 1) {
    for (let at = 0; at < best.length;) {
      const candidate = [...best.slice(0, at), ...best.slice(at + size)];
      if (candidate.length < best.length && (await fails(candidate))) best = candidate;
      else at += size;
    }
  }
  if (!canCutFrames) return best;
  for (let at = 0; at < best.length; at++) {
    for (let length = (best[at]?.length ?? 0) >> 1; length >= 1; length >>= 1) {
      const candidate = best.map((one, index) => (index === at ? one.subarray(0, one.length - length) : one));
      if (await fails(candidate)) best = candidate;
    }
  }
  return best;
}
