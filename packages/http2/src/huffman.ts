/** The Huffman code of HPACK: https://www.rfc-editor.org/rfc/rfc7541 section 5.2 and appendix B. */

/**
 * How many bits each byte's code has: A for 5, B for 6, and so on to Z for 30. The lengths say it all: codes of the same length ascend with
 * their bytes, and longer ones follow shorter ones.
 */
const LENGTHS =
  "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJB" +
  "KABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS" +
  "VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV";
const SHORTEST = 5;
/** The end-of-string symbol, all ones; it must not occur. */
const END_BITS = 30;
/** What is left of the last byte is filled with the first bits of the end-of-string symbol. */
const PADDING_BITS_MAX = 7;

/**
 * The decoder's table: for each state and four bits of input the next state, and a byte that is complete with them. (Codes have five bits
 * or more, so that four can't complete two.) A state is a node of the code's tree.
 */
const BAD = 0xffff;
const HAS_BYTE = 1 << 8;
const transitions = new Uint32Array(256 * 16);
const mayEnd = new Uint8Array(256);
buildTables();

interface Node {
  /** A node, or the byte of a leaf; undefined: only the end-of-string symbol is there. */
  readonly branches: [Node | number | undefined, Node | number | undefined];
  readonly state: number;
}

function buildTables(): void {
  const nodes: Node[] = [];
  const addNode = (): Node => {
    const node: Node = { branches: [undefined, undefined], state: nodes.length };
    nodes.push(node);
    return node;
  };
  const root = addNode();
  let code = 0;
  for (let bits = SHORTEST; bits <= END_BITS; bits++) {
    code *= 2;
    for (let byte = 0; byte < 256; byte++) {
      if (LENGTHS.charCodeAt(byte) - 65 + SHORTEST !== bits) continue;
      let node = root;
      for (let bit = bits - 1; bit > 0; bit--) {
        const branch = (code >>> bit) & 1;
        node = (node.branches[branch] ??= addNode()) as Node;
      }
      node.branches[code & 1] = byte;
      code++;
    }
  }
  for (const node of nodes) for (let input = 0; input < 16; input++) addTransition(root, node, input);
  // A string may end where only ones were read since its last byte.
  let node = root;
  for (let bits = 0; bits <= PADDING_BITS_MAX; bits++) {
    mayEnd[node.state] = 1;
    node = node.branches[1] as Node;
  }
}

function addTransition(root: Node, from: Node, input: number): void {
  let node = from;
  let found = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = node.branches[(input >>> bit) & 1];
    if (next === undefined) {
      transitions[from.state * 16 + input] = BAD << 16;
      return;
    }
    if (typeof next === "number") {
      found = HAS_BYTE | next;
      node = root;
    } else {
      node = next;
    }
  }
  transitions[from.state * 16 + input] = (node.state << 16) | found;
}

/** The shortest code gives the most text: 8 bytes for 5. */
let scratch = Buffer.allocUnsafe(8_192);

/** Decodes a string. Returns its length; undefined where it is malformed. `lastDecoded` has the text. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): number | undefined {
  const charsMax = Math.ceil(((end - start) * 8) / SHORTEST);
  if (charsMax > scratch.length) scratch = Buffer.allocUnsafe(charsMax);
  let state = 0;
  let length = 0;
  for (let index = start; index < end; index++) {
    const byte = bytes[index] ?? 0;
    const first = transitions[state * 16 + (byte >>> 4)] ?? 0;
    if ((first & HAS_BYTE) !== 0) scratch[length++] = first & 0xff;
    state = first >>> 16;
    if (state === BAD) return undefined;
    const second = transitions[state * 16 + (byte & 15)] ?? 0;
    if ((second & HAS_BYTE) !== 0) scratch[length++] = second & 0xff;
    state = second >>> 16;
    if (state === BAD) return undefined;
  }
  return mayEnd[state] === 1 ? length : undefined;
}

/** The string of this length that `decodeHuffman` decoded last, as Latin-1. */
export function lastDecoded(length: number): string {
  return scratch.toString("latin1", 0, length);
}
