/** HPACK: the examples of RFC 7541 appendix C, blocks that must be refused, and what our own encoder makes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ErrorCode } from "../src/codes.js";
import { Http2Error } from "../src/errors.js";
import { FieldDecoder } from "../src/field-decoder.js";
import { fieldBytesMax, writeField, writeStatus } from "../src/field-encoder.js";

const LIMITS = { bytesMax: 32_768, fieldsMax: 128 };

function decode(decoder: FieldDecoder, hex: string): readonly string[] | undefined {
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  return decoder.decode(bytes, 0, bytes.length);
}

/** Requests one after the other on one connection. */
const GET = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
const SECOND = [...GET, "cache-control", "no-cache"];
const THIRD = [
  ...[":method", "GET", ":scheme", "https", ":path", "/index.html", ":authority", "www.example.com"],
  ...["custom-key", "custom-value"],
];

describe("a decoder", () => {
  it.each([
    [
      "C.3, without Huffman coding",
      [
        ["828684410f7777772e6578616d706c652e636f6d", GET],
        ["828684be58086e6f2d6361636865", SECOND],
        ["828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", THIRD],
      ],
    ],
    [
      "C.4, with Huffman coding",
      [
        ["828684418cf1e3c2e5f23a6ba0ab90f4ff", GET],
        ["828684be5886a8eb10649cbf", SECOND],
        ["828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", THIRD],
      ],
    ],
  ] as const)("reads the requests of appendix %s", (_name, requests) => {
    const decoder = new FieldDecoder(LIMITS);
    for (const [hex, fields] of requests) expect(decode(decoder, hex)).toEqual(fields);
  });

  it.each([
    [
      "C.2.1, a literal with indexing",
      "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
      "custom-key",
      "custom-header",
    ],
    ["C.2.2, a literal without indexing", "040c2f73616d706c652f70617468", ":path", "/sample/path"],
    ["C.2.3, a literal never indexed", "100870617373776f726406736563726574", "password", "secret"],
    ["C.2.4, an indexed field", "82", ":method", "GET"],
  ])("reads appendix %s", (_name, hex, name, value) => {
    expect(decode(new FieldDecoder(LIMITS), hex)).toEqual([name, value]);
  });

  it("forgets what its table has no room for, the oldest first", () => {
    const decoder = new FieldDecoder(LIMITS);
    // A table of 100 bytes holds two entries of 3 + 3 + 32.
    decode(decoder, "3f45" + "4003612d61 03312d31" + "4003622d62 03322d32" + "4003632d63 03332d33");
    expect(decode(decoder, "be bf")).toEqual(["c-c", "3-3", "b-b", "2-2"]);
    expect(() => decode(decoder, "c0")).toThrow(Http2Error);
  });

  it("reads a block that comes again as it read it first, unless the table changed in between", () => {
    const decoder = new FieldDecoder(LIMITS);
    decode(decoder, "4003612d61 03312d31");
    expect(decode(decoder, "be")).toEqual(["a-a", "1-1"]);
    expect(decode(decoder, "be")).toEqual(["a-a", "1-1"]);
    decode(decoder, "4003622d62 03322d32");
    expect(decode(decoder, "be")).toEqual(["b-b", "2-2"]);
  });

  it.each([
    ["index 0", "80"],
    ["an index beyond the table", "be"],
    ["a name beyond the table", "7f0003612d61"],
    ["a string longer than the block", "400a6162"],
    ["an integer without an end", "ff"],
    ["an integer of five more bytes", "ff8080808001"],
    ["a table size update behind a field", "8220"],
    ["a table larger than allowed", "3fe21f"],
    ["the end-of-string symbol", "408401ffffffff03313131"],
    ["padding of eight bits", "00821fff0131"],
    ["padding that is not of ones", "0081180131"],
  ])("refuses %s", (_name, hex) => {
    let thrown: unknown;
    try {
      decode(new FieldDecoder(LIMITS), hex);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(Http2Error);
    expect(thrown).toMatchObject({ code: ErrorCode.compressionError, streamId: undefined });
  });

  it("keeps to its limits however small the block is, and reads on", () => {
    const decoder = new FieldDecoder({ bytesMax: 1_000, fieldsMax: 10 });
    decode(decoder, "4003612d61" + "64" + "78".repeat(100));
    expect(decode(decoder, "be".repeat(9))).toBeUndefined();
    expect(decode(decoder, "82".repeat(11))).toBeUndefined();
    expect(decode(decoder, "be")).toEqual(["a-a", "x".repeat(100)]);
  });

  it("refuses what there is no room for, and keeps its table in step with the client's", () => {
    const decoder = new FieldDecoder({ bytesMax: 10_000, fieldsMax: 10 });
    decode(decoder, "4003612d61 03312d31");
    // A literal of 200 bytes, not indexed, and one of 100 bytes that is.
    const long = Buffer.from(
      "0003622d62" + "7f49" + "78".repeat(200) + "4003632d63" + "64" + "79".repeat(100),
      "hex",
    );
    expect(decoder.decode(long, 0, long.length, 150)).toBeUndefined();
    expect(decoder.fieldBytes).toBe(2 * (3 + 32) + 300);
    expect(decode(decoder, "be bf")).toEqual(["c-c", "y".repeat(100), "a-a", "1-1"]);
    expect(decoder.decode(long, 0, long.length)).toHaveLength(4);
  });

  it("refuses a Huffman-coded value by its decoded length; an indexed one larger than the table empties it", () => {
    const decoder = new FieldDecoder({ bytesMax: 1_000, fieldsMax: 10 });
    decode(decoder, "4003612d61 03312d31");
    // 8,000 zeros, of five bits each.
    const block = Buffer.concat([Buffer.from("4003622d62" + "ff8926", "hex"), Buffer.alloc(5_000)]);
    expect(decoder.decode(block, 0, block.length)).toBeUndefined();
    expect(decoder.fieldBytes).toBe(3 + 8_000 + 32);
    expect(() => decode(decoder, "be")).toThrow(Http2Error);
  });

  it("answers any bytes with fields or a violation", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
        const decoder = new FieldDecoder(LIMITS);
        try {
          for (const block of blocks) decoder.decode(Buffer.from(block), 0, block.length);
        } catch (error) {
          expect(error).toBeInstanceOf(Http2Error);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

const names = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((name) => !OF_CONNECTIONS.has(name));
const values = fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,300}$/);
const OF_CONNECTIONS = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

describe("an encoder", () => {
  it("makes what a decoder reads, also of names and values that came before", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.oneof(names, fc.constantFrom("content-type", "vary", "set-cookie")), values)),
        fc.constantFrom(200, 204, 304, 404, 418, 503),
        (fields, status) => {
          const size = fields.reduce((sum, [name, value]) => sum + fieldBytesMax(name, value), 10);
          const buffer = Buffer.alloc(size);
          let end = writeStatus(status, buffer, 0);
          for (const [name, value] of fields) end = writeField(name, value, buffer, end);
          const decoder = new FieldDecoder({ bytesMax: 1_000_000, fieldsMax: 1_000 });
          expect(decoder.decode(buffer, 0, end)).toEqual([":status", String(status), ...fields.flat()]);
        },
      ),
    );
  });

  it.each([
    ["a line end", "x-a", "1\r\nx-b: 2"],
    ["a NUL", "x-a", "\0"],
    ["a character that is not Latin-1", "x-a", "\u20ac"],
    ["a name in capitals", "X-A", "1"],
    ["an empty name", "", "1"],
    ["a field of a connection", "transfer-encoding", "chunked"],
  ])("refuses %s", (_name, name, value) => {
    expect(() => writeField(name, value, Buffer.alloc(100), 0)).toThrow(TypeError);
  });
});
