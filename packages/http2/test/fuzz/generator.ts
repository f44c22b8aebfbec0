/** Makes the cases of the fuzzers: the frames of one connection, after the preface and the client's SETTINGS. */
import { head, INITIAL_WINDOW_SIZE } from "../frames.js";
import {
  CANCEL,
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  setting,
  uint32,
} from "../raw-session.js";
import type { Random } from "./random.js";
import { type Violation, VIOLATIONS } from "./violations.js";

/** Node's server raises its connection window later than ours. */
const BODY_BYTES_MAX = 60_000;
const PADDED = 8;
const PRIORITY_FLAG = 0x20;
const STREAMS_MAX = 5;
const TRAILERS = headerBlock({ "x-end": "1" });
const METHODS = ["GET", "POST", "PUT", "HEAD"];

export interface FuzzCase {
  readonly frames: readonly Buffer[];
  /** Streams whose requests are complete and were not reset. */
  readonly complete: readonly number[];
  readonly violation: Violation | undefined;
}

/** Valid frames of a few interleaved streams; at most one frame breaks a rule. */
export function makeCase(random: Random): FuzzCase {
  const frames: Buffer[] = [];
  const complete: number[] = [];
  const openIds: number[] = [];
  let bodyBytes = 0;
  let lastId = 0;
  const endStream = (id: number): void => {
    openIds.splice(openIds.indexOf(id), 1);
    complete.push(id);
  };
  const open = (): void => {
    lastId += 2;
    const id = lastId - 1;
    const isEnd = random.chance(0.4);
    frames.push(...headerFrames(random, id, isEnd));
    if (isEnd) complete.push(id);
    else openIds.push(id);
  };
  const data = (id: number, isEnd: boolean): void => {
    const content = random.bytes(Math.min(random.pick([0, 1, 100, 5_000]), BODY_BYTES_MAX - bodyBytes));
    const isPadded = random.chance(0.3);
    const padding = isPadded ? random.below(100) : 0;
    const payload = isPadded
      ? Buffer.concat([Buffer.from([padding]), content, Buffer.alloc(padding)])
      : content;
    if (bodyBytes + payload.length > BODY_BYTES_MAX) return;
    bodyBytes += payload.length;
    frames.push(frame(Frame.DATA, (isPadded ? PADDED : 0) | (isEnd ? END_STREAM : 0), id, payload));
    if (isEnd) endStream(id);
  };
  for (let steps = 2 + random.below(20); steps > 0; steps--) {
    const id = openIds.length > 0 ? random.pick(openIds) : undefined;
    const action = random.below(10);
    if (lastId === 0 || (lastId < 2 * STREAMS_MAX && action < 3)) open();
    else if (id === undefined || action < 5) frames.push(harmlessFrame(random, lastId));
    else if (action < 8) data(id, random.chance(0.3));
    else if (action === 8) {
      frames.push(frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, TRAILERS));
      endStream(id);
    } else {
      frames.push(frame(Frame.RST_STREAM, 0, id, uint32(CANCEL)));
      openIds.splice(openIds.indexOf(id), 1);
    }
  }
  const violation = random.chance(0.4) ? random.pick(VIOLATIONS) : undefined;
  if (violation !== undefined) {
    // On a stream of its own, so that the others stay as they are.
    const id = lastId + 1;
    frames.push(...violation.make(id));
  } else {
    for (const id of openIds.splice(0)) {
      frames.push(frame(Frame.DATA, END_STREAM, id));
      complete.push(id);
    }
  }
  // Responses can be sent whole from here on.
  frames.push(
    frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 1_000_000)),
    frame(Frame.WINDOW_UPDATE, 0, 0, uint32(10_000_000)),
  );
  return { frames, complete, violation };
}

function headerFrames(random: Random, id: number, isEnd: boolean): Buffer[] {
  const size = random.pick([0, 1, 1_000, 20_000, 70_000]);
  const fields: Record<string, string> = { "x-size": String(size) };
  if (random.chance(0.3)) fields["x-trailers"] = "1";
  if (random.chance(0.2)) fields.cookie = "a=b";
  let block = head(fields, random.pick(METHODS));
  // A table size update, or a field that enters the dynamic table and is referred to.
  if (random.chance(0.2)) block = Buffer.concat([Buffer.from([0x3f, 0xe1, 0x1f]), block]);
  if (random.chance(0.3)) block = Buffer.concat([block, Buffer.from("\x40\x03x-d\x011\xbe", "latin1")]);
  const flags = isEnd ? END_STREAM : 0;
  const hasPriority = random.chance(0.2);
  if (hasPriority) block = Buffer.concat([uint32(id === 1 ? 3 : 1), Buffer.from([random.below(256)]), block]);
  const first = flags | (hasPriority ? PRIORITY_FLAG : 0);
  if (random.chance(0.7)) return [frame(Frame.HEADERS, first | END_HEADERS, id, block)];
  const cut = hasPriority ? 5 + random.below(block.length - 5) : random.below(block.length);
  return [
    frame(Frame.HEADERS, first, id, block.subarray(0, cut)),
    frame(Frame.CONTINUATION, END_HEADERS, id, block.subarray(cut)),
  ];
}

function harmlessFrame(random: Random, lastId: number): Buffer {
  const id = 1 + 2 * random.below(lastId / 2);
  return random.pick([
    () => frame(Frame.PING, 0, 0, random.bytes(8)),
    () => frame(Frame.PRIORITY, 0, id, Buffer.concat([uint32(id + 2), Buffer.from([7])])),
    () => frame(Frame.WINDOW_UPDATE, 0, 0, uint32(1 + random.below(50_000))),
    () => frame(Frame.WINDOW_UPDATE, 0, id, uint32(1 + random.below(50_000))),
    () => frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, random.pick([0, 1, 10_000, 65_535]))),
    () => frame(Frame.SETTINGS, 0, 0, setting(0xabcd, random.below(1_000))),
    () => frame(0x77, random.below(256), id, random.bytes(random.below(30))),
  ])();
}

/** Changes a few frames of a case in any way. */
export function mutate(random: Random, original: readonly Buffer[]): Buffer[] {
  const frames: Buffer[] = original.map((one) => Buffer.from(one));
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(frames.length);
    const one = frames[at] ?? Buffer.alloc(0);
    const position = random.below(one.length);
    // Shorter ones have no head to change.
    if (one.length < 9) continue;
    random.pick([
      () => void one.writeUInt8(random.below(256), position),
      () => void one.writeUInt8((one[position] ?? 0) ^ (1 << random.below(8)), position),
      () => void one.writeUInt8(random.below(12), 3),
      () => void one.writeUInt8(random.below(256), 4),
      () => void one.writeUInt8(random.below(12), 8),
      () => void frames.splice(at, 1),
      () => void frames.splice(at, 0, Buffer.from(one)),
      () => void frames.splice(random.below(frames.length), 0, ...frames.splice(at, 1)),
      () => void frames.splice(at, 1, one.subarray(0, position)),
      () => void frames.splice(at, 0, random.bytes(random.below(40))),
    ])();
    if (frames.length === 0) frames.push(random.bytes(9));
  }
  return frames;
}
