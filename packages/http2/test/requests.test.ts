/** Which requests reach the handler, and which are refused: RFC 9113 section 8. */
import { describe, expect } from "vitest";
import type { RequestStream } from "../src/stream.js";
import { codeOf, end, head, isEndOf, isOf, open, PROTOCOL_ERROR, request } from "./frames.js";
import { test } from "./fixture.js";
import { END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, frame, headerBlock } from "./raw-session.js";

/** Responds to complete requests, and remembers them. */
function answering(complete: number[]): (stream: RequestStream) => void {
  return (stream) => {
    const received = (): void => {
      complete.push(stream.id);
      stream.respond(200, {}, true);
    };
    stream.listener = { receive: () => undefined, received, abandon: () => undefined };
    if (stream.isRequestComplete) received();
  };
}
const headers = (block: Buffer): Buffer => frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, block);

describe("a request is refused, and its connection stays open, with", () => {
  test.for<[string, Record<string, string>]>([
    ["33 KB in two fields", { a: "x".repeat(16_300), b: "x".repeat(16_300) }],
    ["200 fields", Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`x-${index}`, "y"]))],
  ])("%s", async ([, fields], { peers }) => {
    const complete: number[] = [];
    const session = await peers.connect(await peers.start(answering(complete)));
    const block = head(fields);
    session.write(
      frame(Frame.HEADERS, END_STREAM, 1, block.subarray(0, 16_384)),
      ...(block.length > 32_768 ? [frame(Frame.CONTINUATION, 0, 1, block.subarray(16_384, 32_768))] : []),
      frame(Frame.CONTINUATION, END_HEADERS, 1, block.subarray(block.length > 32_768 ? 32_768 : 16_384)),
    );
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(ENHANCE_YOUR_CALM);
    session.write(request(3));
    await session.until(isEndOf(3));
    expect(complete).toEqual([3]);
  });

  test.for<[string, Record<string, string>]>([
    ["transfer-encoding", { "transfer-encoding": "chunked" }],
    ["connection", { connection: "close" }],
    ["a name in capitals", { "X-Big": "1" }],
    ["an empty name", { "": "1" }],
    ["a pseudo-header field with a space", { ":path ": "/" }],
    ["an unknown pseudo-header field", { ":protocol": "websocket" }],
    ["a response's pseudo-header field", { ":status": "200" }],
    ["a line end in a value", { "x-a": "a\nif-match: 7" }],
    ["another request in a value", { "content-type": "a\r\n\r\nGET / HTTP/1.1" }],
    ["a NUL in a value", { "x-a": "a\0b" }],
    ["white space around a value", { "x-a": " a" }],
    ["a content-length that is no number", { "content-length": "0x1" }],
    ["a content-length and no body", { "content-length": "1" }],
    ["te of another kind", { te: "gzip" }],
    ["a host that differs from :authority", { host: "y" }],
  ])("%s", async ([, fields], { peers }) => {
    const complete: number[] = [];
    const session = await peers.connect(await peers.start(answering(complete)));
    session.write(headers(head(fields)));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(PROTOCOL_ERROR);
    session.write(request(3));
    await session.until(isEndOf(3));
    expect(complete).toEqual([3]);
  });

  test.for<[string, Buffer[]]>([
    ["no path", [headerBlock({ ":method": "GET", ":scheme": "http", ":authority": "x" })]],
    ["no authority and no host", [headerBlock({ ":method": "GET", ":scheme": "http", ":path": "/" })]],
    ["two paths", [headerBlock({ ":path": "/" }), head()]],
    ["a pseudo-header field after others", [headerBlock({ "x-a": "1" }), head()]],
    ["two content-lengths", [head({ "content-length": "0" }), headerBlock({ "content-length": "0" })]],
  ])("%s", async ([, blocks], { peers }) => {
    const complete: number[] = [];
    const session = await peers.connect(await peers.start(answering(complete)));
    session.write(headers(Buffer.concat(blocks)));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(PROTOCOL_ERROR);
    expect(complete).toEqual([]);
  });

  test.for([
    ["more than its content-length", "3"],
    ["less than its content-length", "9"],
  ] as const)("a body of %s", async ([, length], { peers }) => {
    const complete: number[] = [];
    const session = await peers.connect(await peers.start(answering(complete)));
    session.write(
      frame(Frame.HEADERS, END_HEADERS, 1, head({ "content-length": length })),
      frame(Frame.DATA, END_STREAM, 1, Buffer.from("12345")),
      frame(Frame.HEADERS, END_HEADERS, 3, head({ "content-length": length })),
      frame(Frame.DATA, 0, 3, Buffer.from("12345")),
      frame(Frame.HEADERS, END_HEADERS | END_STREAM, 3, headerBlock({ "x-end": "1" })),
      open(5),
      end(5),
    );
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(PROTOCOL_ERROR);
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 3)))).toBe(PROTOCOL_ERROR);
    await session.until(isEndOf(5));
    expect(complete).toEqual([5]);
  });
});

test("a request with equal host and :authority reaches the handler", async ({ peers }) => {
  const complete: number[] = [];
  const session = await peers.connect(await peers.start(answering(complete)));
  session.write(headers(head({ host: "X" })));
  await session.until(isEndOf(1));
  expect(complete).toEqual([1]);
});
