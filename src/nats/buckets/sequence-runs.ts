/**
 * Sets of sequences as runs without a gap: `[first, last, first, last, ...]`, ascending. A stream of a million keys of which few were deleted
 * is a few runs.
 */
export type Runs = readonly number[];

const PAYLOAD_BITS = 7;
const MORE_BIT = 0x80;

/** Collects ascending sequences. */
export class RunBuilder {
  readonly runs: number[] = [];

  add(sequence: number): void {
    const { runs } = this;
    if (runs.at(-1) === sequence - 1) runs[runs.length - 1] = sequence;
    else runs.push(sequence, sequence);
  }
}

/** From `first` to `last`, without those in `deleted`, which is ascending. */
export function runsWithout(first: number, last: number, deleted: readonly number[]): number[] {
  const runs: number[] = [];
  let from = first;
  for (const gap of deleted) {
    if (gap > from) runs.push(from, gap - 1);
    from = Math.max(from, gap + 1);
  }
  if (last >= from) runs.push(from, last);
  return runs;
}

/** The sequences of `stored` up to `upTo` that are not in `recorded`. */
export function* notIn(recorded: Runs, stored: Runs, upTo: number): Generator<number> {
  let at = 0;
  for (let index = 0; index < stored.length; index += 2) {
    const last = Math.min(stored[index + 1] as number, upTo);
    for (let sequence = stored[index] as number; sequence <= last;) {
      while (at < recorded.length && (recorded[at + 1] as number) < sequence) at += 2;
      const [from, to] = [recorded[at] ?? Infinity, recorded[at + 1] ?? Infinity];
      if (from <= sequence) sequence = to + 1;
      else for (const end = Math.min(last, from - 1); sequence <= end; sequence++) yield sequence;
    }
  }
}

/** The bytes in parts: differences between the numbers, seven bits a byte. */
export function* encodeRuns(runs: Runs, partBytesMax: number): Generator<Uint8Array> {
  let bytes: number[] = [];
  let before = 0;
  for (const bound of runs) {
    let gap = bound - before;
    before = bound;
    for (; gap >= MORE_BIT; gap = Math.floor(gap / MORE_BIT)) bytes.push((gap % MORE_BIT) + MORE_BIT);
    bytes.push(gap);
    if (bytes.length < partBytesMax) continue;
    yield Uint8Array.from(bytes);
    bytes = [];
  }
  if (bytes.length > 0) yield Uint8Array.from(bytes);
}

export function decodeRuns(bytes: Uint8Array): number[] {
  const runs: number[] = [];
  let [bound, gap, scale] = [0, 0, 1];
  for (const byte of bytes) {
    gap += (byte % MORE_BIT) * scale;
    scale *= 2 ** PAYLOAD_BITS;
    if (byte >= MORE_BIT) continue;
    bound += gap;
    runs.push(bound);
    [gap, scale] = [0, 1];
  }
  return runs;
}
