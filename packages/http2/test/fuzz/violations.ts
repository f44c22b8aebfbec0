/** Frames that break a rule whose outcome RFC 9113 decides. */
import {
  FLOW_CONTROL_ERROR,
  head,
  INITIAL_WINDOW_SIZE,
  open,
  PROTOCOL_ERROR,
  request,
  STREAM_CLOSED,
} from "../frames.js";
import { END_HEADERS, END_STREAM, Frame, frame, headerBlock, setting, uint32 } from "../raw-session.js";

const FRAME_SIZE_ERROR = 6;
const COMPRESSION_ERROR = 9;

export interface Violation {
  readonly name: string;
  /** A stream error, or a connection error. */
  readonly scope: "stream" | "connection";
  readonly code: number;
  /** Makes the frames, on a stream that is idle. */
  make(id: number): Buffer[];
  /** Why Node's server reports no error here. */
  readonly nodeAccepts?: string;
}

const malformed = (name: string, block: Buffer): Violation => ({
  name,
  scope: "stream",
  code: PROTOCOL_ERROR,
  make: (id) => [frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, block)],
});
const ofConnection = (name: string, code: number, make: (id: number) => Buffer[]): Violation => ({
  name,
  scope: "connection",
  code,
  make,
});

export const VIOLATIONS: readonly Violation[] = [
  // Section 8.
  malformed("a name in capitals", head({ "X-A": "1" })),
  malformed("a connection-specific field", head({ connection: "close" })),
  malformed("no path", headerBlock({ ":method": "GET", ":scheme": "http", ":authority": "x" })),
  malformed("a pseudo-header field after others", Buffer.concat([headerBlock({ "x-a": "1" }), head()])),
  malformed("an unknown pseudo-header field", head({ ":a": "1" })),
  malformed("te other than trailers", head({ te: "gzip" })),
  {
    name: "a body shorter than its content-length",
    scope: "stream",
    code: PROTOCOL_ERROR,
    make: (id) => [
      frame(Frame.HEADERS, END_HEADERS, id, head({ "content-length": "5" })),
      frame(Frame.DATA, END_STREAM, id, Buffer.from("abc")),
    ],
  },
  // Sections 5.1 and 6.
  {
    name: "DATA after END_STREAM",
    scope: "stream",
    code: STREAM_CLOSED,
    // The server holds the response back: its window is 0.
    make: (id) => [
      frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0)),
      frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, head({ "x-size": "10" })),
      frame(Frame.DATA, 0, id, Buffer.from("x")),
    ],
  },
  {
    name: "a WINDOW_UPDATE of 0 on a stream",
    scope: "stream",
    code: PROTOCOL_ERROR,
    make: (id) => [open(id), frame(Frame.WINDOW_UPDATE, 0, id, uint32(0))],
  },
  {
    name: "a stream window overflow",
    scope: "stream",
    code: FLOW_CONTROL_ERROR,
    // Twice: the window may be 0 before.
    make: (id) => [
      open(id),
      frame(Frame.WINDOW_UPDATE, 0, id, uint32(2 ** 31 - 1)),
      frame(Frame.WINDOW_UPDATE, 0, id, uint32(2 ** 31 - 1)),
    ],
  },
  ofConnection("a WINDOW_UPDATE of 0 on the connection", PROTOCOL_ERROR, () => [
    frame(Frame.WINDOW_UPDATE, 0, 0, uint32(0)),
  ]),
  ofConnection("a connection window overflow", FLOW_CONTROL_ERROR, () => [
    frame(Frame.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)),
  ]),
  ofConnection("a window above the maximum", FLOW_CONTROL_ERROR, () => [
    frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 2 ** 31)),
  ]),
  ofConnection("a frame size below the minimum", PROTOCOL_ERROR, () => [
    frame(Frame.SETTINGS, 0, 0, setting(5, 16_383)),
  ]),
  ofConnection("SETTINGS on a stream", PROTOCOL_ERROR, (id) => [frame(Frame.SETTINGS, 0, id)]),
  ofConnection("SETTINGS of five bytes", FRAME_SIZE_ERROR, () => [
    frame(Frame.SETTINGS, 0, 0, Buffer.alloc(5)),
  ]),
  ofConnection("PING on a stream", PROTOCOL_ERROR, (id) => [frame(Frame.PING, 0, id, Buffer.alloc(8))]),
  ofConnection("PING of seven bytes", FRAME_SIZE_ERROR, () => [frame(Frame.PING, 0, 0, Buffer.alloc(7))]),
  ofConnection("RST_STREAM of three bytes", FRAME_SIZE_ERROR, (id) => [
    open(id),
    frame(Frame.RST_STREAM, 0, id, Buffer.alloc(3)),
  ]),
  ofConnection("RST_STREAM on an idle stream", PROTOCOL_ERROR, (id) => [
    frame(Frame.RST_STREAM, 0, id, uint32(8)),
  ]),
  ofConnection("DATA on an idle stream", PROTOCOL_ERROR, (id) => [frame(Frame.DATA, 0, id)]),
  ofConnection("DATA on stream 0", PROTOCOL_ERROR, () => [frame(Frame.DATA, 0, 0)]),
  ofConnection("HEADERS on an even stream", PROTOCOL_ERROR, (id) => [request(id + 1)]),
  ofConnection("PUSH_PROMISE", PROTOCOL_ERROR, (id) => [
    open(id),
    frame(Frame.PUSH_PROMISE, END_HEADERS, id, Buffer.concat([uint32(2), head()])),
  ]),
  ofConnection("CONTINUATION without HEADERS", PROTOCOL_ERROR, (id) => [
    frame(Frame.CONTINUATION, END_HEADERS, id, head()),
  ]),
  ofConnection("a frame within a header block", PROTOCOL_ERROR, (id) => [
    frame(Frame.HEADERS, 0, id, head()),
    frame(Frame.PING, 0, 0, Buffer.alloc(8)),
  ]),
  ofConnection("padding that exceeds its frame", PROTOCOL_ERROR, (id) => [
    open(id),
    frame(Frame.DATA, 8, id, Buffer.from([5, 0])),
  ]),
  ofConnection("a frame above the maximum size", FRAME_SIZE_ERROR, (id) => [
    open(id),
    frame(Frame.DATA, 0, id, Buffer.alloc(16_385)),
  ]),
  ofConnection("an index beyond the HPACK table", COMPRESSION_ERROR, (id) => [
    frame(Frame.HEADERS, END_HEADERS, id, Buffer.from([0xff, 0x70])),
  ]),
];
