/** The backup format: intact files are read, and no others are accepted. Needs no service. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FIRST_LINE, frameOf } from "../../src/backup/format.js";
import { Ledger } from "../../src/backup/ledger.js";
import { settingsOf } from "../../src/backup/records.js";
import { compressed, fileOf, inspected, sampleFrames } from "./files.js";
import { IS_EXTENDED } from "../support/extended.js";

const FRAMES = sampleFrames();
const FILE = fileOf(FRAMES);
/** Where each frame ends. */
const ENDS = FRAMES.reduce<number[]>(
  (ends, { bytes }) => [...ends, (ends.at(-1) ?? FIRST_LINE.length) + bytes.length],
  [],
);

describe("a whole backup", () => {
  it.each([1, 7, 64, 1_000_000])("is read in pieces of %d bytes", async (pieceBytes) => {
    for (const file of [FILE, compressed(FILE)]) {
      const { ledger, problem } = await inspected(file, pieceBytes);
      expect(problem).toBeUndefined();
      expect(ledger.entries).toBe(5);
      expect(ledger.bytes).toBe(FILE.length);
      expect(ledger.sections.map(({ begin, entries }) => [begin.name, entries])).toEqual([
        ["one", 3],
        ["two", 2],
      ]);
    }
  });

  it("has the buckets' settings", async () => {
    const { ledger } = await inspected(FILE);
    expect(ledger.sections.map(({ begin }) => settingsOf(begin))).toEqual(
      Array(2).fill({
        description: "Ein Eimer",
        ttlSeconds: 3_600.5,
        maxValueSize: 1_000,
        maxBytes: 1_000_000,
        history: 5,
      }),
    );
  });
});

describe("what is not whole", () => {
  it("is told by any flipped bit of any byte", async () => {
    for (let at = 0; at < FILE.length; at++) {
      const file = Buffer.from(FILE);
      file[at] = (file[at] ?? 0) ^ (1 << (at % 8));
      expect((await inspected(file)).problem, `byte ${at}`).toBeDefined();
    }
  });

  it("is told by any change of any byte", async () => {
    const place = fc.tuple(fc.nat(FILE.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(place, async ([at, change]) => {
        const file = Buffer.from(FILE);
        file[at] = (file[at] ?? 0) ^ change;
        expect((await inspected(file)).problem).toBeDefined();
      }),
      { numRuns: IS_EXTENDED ? 20_000 : 500 },
    );
  });

  it("is told by a cut at any byte, with what stands before it", async () => {
    for (let length = 0; length < FILE.length; length++) {
      const { ledger, problem } = await inspected(FILE.subarray(0, length));
      expect(problem, `${length} bytes`).toMatchObject({ problem: "truncated" });
      const whole = ENDS.filter((end) => end <= length).length;
      const entries = FRAMES.slice(0, whole).filter(({ record }) => record.record.case === "entry").length;
      expect(ledger.entries, `${length} bytes`).toBe(entries);
      expect(ledger.bytes).toBe(whole === 0 ? FIRST_LINE.length : ENDS[whole - 1]);
    }
  });

  it("is told of a compressed file by a cut at any byte", async () => {
    const file = compressed(FILE);
    for (let length = 0; length < file.length; length++) {
      expect((await inspected(file.subarray(0, length))).problem, `${length} bytes`).toBeDefined();
    }
  });

  it("is told of a compressed file by a flipped bit of any byte, or changes nothing", async () => {
    const file = compressed(FILE);
    for (let at = 0; at < file.length; at++) {
      const flipped = Buffer.from(file);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      const { ledger, problem } = await inspected(flipped);
      // gzip's header has a time, and its last byte of data bits that mean nothing: no part of the backup (RFC 1952, section 2.3).
      if (problem === undefined) expect([ledger.entries, ledger.bytes]).toEqual([5, FILE.length]);
    }
  });

  it.each([
    ["an older format", "ironflow-kv backup 0\n", "version", /older version/],
    ["a newer format", "ironflow-kv backup 2\n", "version", /newer version/],
    ["a much newer format", "ironflow-kv backup 12345\n", "version", /newer version/],
    ["another kind of file", "SQLite format 3\0", "not_a_backup", /not an ironflow-kv backup/],
    ["a short text", "hello", "not_a_backup", /not an ironflow-kv backup/],
    ["nothing", "", "truncated", /before its first record/],
  ])("detects %s", async (_, start, problem, sentence) => {
    const file = start === "" ? Buffer.alloc(0) : Buffer.concat([Buffer.from(start), FILE.subarray(21)]);
    expect((await inspected(start === "hello" ? Buffer.from(start) : file)).problem).toMatchObject({
      problem,
      message: expect.stringMatching(sentence) as string,
    });
  });

  it("detects intact records that are missing, duplicated or reordered", async () => {
    const indices = FRAMES.map((_, index) => index);
    const without = indices.map((left) => FRAMES.filter((_, index) => index !== left));
    const doubled = indices.map((twice) =>
      FRAMES.flatMap((frame, index) => (index === twice ? [frame, frame] : [frame])),
    );
    const exchanged = indices.slice(1).map((second) => {
      const frames = [...FRAMES];
      [frames[second - 1], frames[second]] = [frames[second], frames[second - 1]] as [never, never];
      return frames;
    });
    for (const frames of [...without, ...doubled, ...exchanged]) {
      expect((await inspected(fileOf(frames))).problem).toBeDefined();
    }
  });

  it("detects by a bucket's checksum that an entry was replaced by another valid one", async () => {
    const frames = sampleFrames();
    const [first] = frames.filter(({ record }) => record.record.case === "entry");
    if (first?.record.record.case !== "entry") throw new Error("no entry");
    frames[frames.indexOf(first)] = frameOf({
      case: "entry",
      value: { ...first.record.record.value, value: Buffer.from("other") },
    });
    expect((await inspected(fileOf(frames))).problem).toMatchObject({
      problem: "checksum",
      message: 'The checksum of the bucket "one" is wrong.',
    });
  });

  it("detects data after the footer", async () => {
    expect((await inspected(Buffer.concat([FILE, Buffer.of(0)]))).problem).toMatchObject({
      problem: "damaged",
    });
    expect((await inspected(Buffer.concat([FILE, FILE]))).problem).toMatchObject({ problem: "damaged" });
  });

  it("detects an impossible record length without reading that far", async () => {
    const head = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    const { problem } = await inspected(Buffer.concat([FIRST_LINE, head]));
    expect(problem).toMatchObject({ problem: "damaged", message: "The file is damaged at byte 21." });
  });
});

describe("a ledger", () => {
  it("is not complete before the footer", () => {
    const ledger = new Ledger();
    for (const frame of FRAMES.slice(0, -1)) ledger.append(frame);
    expect(() => ledger.finish()).toThrow(/truncated/);
  });
});
