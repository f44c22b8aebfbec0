/**
 * Merges sorted runs of keys: a tree of losers with offset-value coding (Conner 1977; Graefe and Do, "Offset-value coding in database query
 * processing", 2023). Each run's next key has a code that says where it first differs from the key that was output last, and by which byte:
 * two keys are mostly compared by one comparison of their codes, however many bytes they share.
 */
import type { KeyRun } from "./key-run.js";

/** The code of a key: smaller for smaller keys. 0: it equals the key that was output last. */
const VALUES = 256;
const OFFSETS = 65_536;
const EQUAL = 0;
/** Of a run that has no more keys. */
const EXHAUSTED = Infinity;

/** Goes through the keys of all runs in the order of their bytes. Of equal keys, it shows the one of the highest revision. */
export class KeyMerge {
  private readonly positions: number[];
  private readonly codes: number[];
  /** By node of the tree: the run that lost there. The children of node n are 2n and 2n + 1; from `runs.length` on they are runs. */
  private readonly losers: number[];
  private winner: number;
  private hasBegun = false;

  constructor(private readonly runs: readonly KeyRun[]) {
    this.positions = runs.map(() => 0);
    // As seen from an empty key.
    this.codes = runs.map((run) => (run.count === 0 ? EXHAUSTED : codeOf(0, run.byteAt(0, 0))));
    this.losers = runs.map(() => 0);
    this.winner = runs.length === 0 ? -1 : this.play(1);
  }

  /** The current key's run. */
  get run(): KeyRun {
    return this.runs[this.winner] as KeyRun;
  }

  /** The current key's position in its run. */
  get position(): number {
    return this.positions[this.winner] as number;
  }

  /** Moves to the next key. False: there is none. */
  next(): boolean {
    if (this.winner < 0) return false;
    if (this.hasBegun) this.advance();
    this.hasBegun = true;
    while (this.codes[this.winner] === EQUAL) this.advance();
    return this.codes[this.winner] !== EXHAUSTED;
  }

  private advance(): void {
    const { runs, positions, codes, losers } = this;
    let winner = this.winner;
    const run = runs[winner] as KeyRun;
    const position = ++(positions[winner] as number);
    positions[winner] = position;
    codes[winner] = position < run.count ? codeAfter(run, position - 1, run, position, 0) : EXHAUSTED;
    for (let node = (winner + runs.length) >>> 1; node > 0; node >>>= 1) {
      const other = losers[node] as number;
      if (this.isBefore(winner, other)) continue;
      losers[node] = winner;
      winner = other;
    }
    this.winner = winner;
  }

  /** Plays the matches below a node. Returns the winner. */
  private play(node: number): number {
    const { length } = this.runs;
    if (node >= length) return node - length;
    const [left, right] = [this.play(2 * node), this.play(2 * node + 1)];
    const isLeft = this.isBefore(left, right);
    this.losers[node] = isLeft ? right : left;
    return isLeft ? left : right;
  }

  /** Compares the keys of two runs. The greater key's code is then as seen from the smaller one. */
  private isBefore(one: number, other: number): boolean {
    const { runs, positions, codes } = this;
    const [oneCode, otherCode] = [codes[one] as number, codes[other] as number];
    if (oneCode !== otherCode) return oneCode < otherCode;
    if (oneCode === EXHAUSTED || oneCode === EQUAL) return true;
    const [oneRun, otherRun] = [runs[one] as KeyRun, runs[other] as KeyRun];
    const [oneAt, otherAt] = [positions[one] as number, positions[other] as number];
    const from = OFFSETS - Math.floor(oneCode / VALUES) + 1;
    const order = oneRun.compare(oneAt, otherRun, otherAt, from);
    if (order < 0) codes[other] = codeAfter(oneRun, oneAt, otherRun, otherAt, from);
    else codes[one] = codeAfter(otherRun, otherAt, oneRun, oneAt, from);
    return order < 0;
  }
}

function codeOf(offset: number, byte: number): number {
  return (OFFSETS - offset) * VALUES + byte;
}

/** The code of the second key, which is not smaller than the first one, as seen from that. They share the bytes before `from`. */
function codeAfter(
  first: KeyRun,
  firstPosition: number,
  second: KeyRun,
  secondPosition: number,
  from: number,
): number {
  const offset = first.sharedBytes(firstPosition, second, secondPosition, from);
  return offset === second.lengthAt(secondPosition)
    ? EQUAL
    : codeOf(offset, second.byteAt(secondPosition, offset));
}
