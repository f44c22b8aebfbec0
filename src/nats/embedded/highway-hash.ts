/**
 * HighwayHash-64 (J. Alakuijala, B. Cox, J. Wassenberg: "Fast keyed hash/pseudo-random function using SIMD multiply and permute",
 * arXiv:1612.06257), the checksum of nats-server's stream metadata. For small inputs: it computes with BigInt.
 */

/** Four lanes of 64 bits. */
type Lanes = [bigint, bigint, bigint, bigint];

const PACKET_BYTES = 32;
const LANES = [0, 1, 2, 3] as const;
const MASK_32 = 0xffff_ffffn;
const INITIAL_MUL_0: Lanes = [
  0xdbe6d5d5fe4cce2fn,
  0xa4093822299f31d0n,
  0x13198a2e03707344n,
  0x243f6a8885a308d3n,
];
const INITIAL_MUL_1: Lanes = [
  0x3bd39e10cb0ef593n,
  0xc0acf169b5f18a8cn,
  0xbe5466cf34e90c6cn,
  0x452821e638d01377n,
];
const FINAL_ROUNDS = 4;
/** For each byte of a merged lane, the byte of the pair of source lanes (0 to 7: the first) that it is, from the lowest. */
const ZIPPER_LOW = [3, 12, 2, 5, 14, 1, 15, 0] as const;
const ZIPPER_HIGH = [11, 4, 10, 13, 9, 6, 8, 7] as const;

/** The hash with a key of 32 bytes, as nats-server writes it: little-endian, in hexadecimal. */
export function highwayHash64(key: Buffer, data: Buffer): string {
  const state = new State(lanesOf(key));
  const wholeBytes = data.length - (data.length % PACKET_BYTES);
  for (let at = 0; at < wholeBytes; at += PACKET_BYTES)
    state.update(lanesOf(data.subarray(at, at + PACKET_BYTES)));
  if (wholeBytes < data.length) state.updateRemainder(data.subarray(wholeBytes));
  const hash = Buffer.alloc(8);
  hash.writeBigUInt64LE(state.finish());
  return hash.toString("hex");
}

class State {
  private readonly mul0: Lanes = [...INITIAL_MUL_0];
  private readonly mul1: Lanes = [...INITIAL_MUL_1];
  private readonly v0: Lanes;
  private readonly v1: Lanes;

  constructor(key: Lanes) {
    this.v0 = mapLanes((lane) => INITIAL_MUL_0[lane] ^ key[lane]);
    this.v1 = mapLanes((lane) => INITIAL_MUL_1[lane] ^ swapHalves(key[lane]));
  }

  update(packet: Lanes): void {
    const { v0, v1, mul0, mul1 } = this;
    for (const lane of LANES) {
      v1[lane] = to64(v1[lane] + mul0[lane] + packet[lane]);
      mul0[lane] ^= (v1[lane] & MASK_32) * (v0[lane] >> 32n);
      v0[lane] = to64(v0[lane] + mul1[lane]);
      mul1[lane] ^= (v0[lane] & MASK_32) * (v1[lane] >> 32n);
    }
    addMerged(v1, v0);
    addMerged(v0, v1);
  }

  /** The last bytes, less than a packet. */
  updateRemainder(bytes: Buffer): void {
    const { length } = bytes;
    const size = BigInt(length);
    for (const lane of LANES) {
      this.v0[lane] = to64(this.v0[lane] + (size << 32n) + size);
      this.v1[lane] = rotateHalves(this.v1[lane], size);
    }
    const packet = Buffer.alloc(PACKET_BYTES);
    const rest = length % 4;
    const whole = length - rest;
    bytes.copy(packet, 0, 0, whole);
    if (length >= 16) bytes.copy(packet, 28, length - 4);
    else if (rest > 0) {
      packet[16] = bytes[whole] ?? 0;
      packet[17] = bytes[whole + (rest >> 1)] ?? 0;
      packet[18] = bytes[length - 1] ?? 0;
    }
    this.update(lanesOf(packet));
  }

  finish(): bigint {
    const { v0, v1, mul0, mul1 } = this;
    for (let round = 0; round < FINAL_ROUNDS; round++)
      this.update([swapHalves(v0[2]), swapHalves(v0[3]), swapHalves(v0[0]), swapHalves(v0[1])]);
    return to64(v0[0] + v1[0] + mul0[0] + mul1[0]);
  }
}

/** Adds the bytes of each pair of lanes to another pair, in the order of the "zipper merge". */
function addMerged(from: Lanes, to: Lanes): void {
  for (const low of [0, 2] as const) {
    const high = low === 0 ? 1 : 3;
    const pair = from[low] | (from[high] << 64n);
    to[low] = to64(to[low] + permute(pair, ZIPPER_LOW));
    to[high] = to64(to[high] + permute(pair, ZIPPER_HIGH));
  }
}

function permute(pair: bigint, order: readonly number[]): bigint {
  return order.reduce(
    (result, from, to) => result | (((pair >> BigInt(from * 8)) & 0xffn) << BigInt(to * 8)),
    0n,
  );
}

function mapLanes(valueOf: (lane: (typeof LANES)[number]) => bigint): Lanes {
  return [valueOf(0), valueOf(1), valueOf(2), valueOf(3)];
}

function lanesOf(bytes: Buffer): Lanes {
  return mapLanes((lane) => bytes.readBigUInt64LE(lane * 8));
}

function to64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function swapHalves(lane: bigint): bigint {
  return (lane >> 32n) | ((lane & MASK_32) << 32n);
}

/** Rotates each half of a lane to the left. */
function rotateHalves(lane: bigint, bits: bigint): bigint {
  const rotate = (half: bigint): bigint => ((half << bits) | (half >> (32n - bits))) & MASK_32;
  return rotate(lane & MASK_32) | (rotate(lane >> 32n) << 32n);
}
