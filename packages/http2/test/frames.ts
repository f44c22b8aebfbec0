/** Requests as frames, and what the server's frames say. */
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  type RawSession,
  type ReceivedFrame,
} from "./raw-session.js";

/** Error codes (RFC 9113 section 7). */
export const PROTOCOL_ERROR = 1;
export const FLOW_CONTROL_ERROR = 3;
export const STREAM_CLOSED = 5;
export const REFUSED_STREAM = 7;

/** Settings (RFC 9113 section 6.5.2). */
export const INITIAL_WINDOW_SIZE = 4;

export const MEBIBYTE = 1_048_576;

export function head(fields: Readonly<Record<string, string>> = {}, method = "POST"): Buffer {
  return headerBlock({
    ":method": method,
    ":scheme": "http",
    ":authority": "x",
    ":path": "/",
    ...fields,
  });
}
const HEAD = head();

/** The id of the client's stream number `index`, from 0. */
export const idOf = (index: number): number => 1 + 2 * index;

export const open = (id: number, flags = END_HEADERS): Buffer => frame(Frame.HEADERS, flags, id, HEAD);
export const request = (id: number): Buffer => open(id, END_HEADERS | END_STREAM);
export const end = (id: number): Buffer => frame(Frame.DATA, END_STREAM, id);
/** A body of whole frames. */
export const body = (id: number, bytes: number): Buffer[] =>
  Array.from({ length: bytes / 16_384 }, () => frame(Frame.DATA, 0, id, Buffer.alloc(16_384)));

export const isOf =
  (type: number, id: number) =>
  (received: ReceivedFrame): boolean =>
    received.type === type && received.streamId === id;

/** The last DATA or HEADERS frame of a response. */
export const isEndOf =
  (id: number) =>
  (received: ReceivedFrame): boolean =>
    received.streamId === id && received.type <= Frame.HEADERS && (received.flags & END_STREAM) !== 0;

/** The error code of RST_STREAM or GOAWAY. */
export const codeOf = (received: ReceivedFrame | undefined): number | undefined =>
  received?.payload.readUInt32BE(received.type === Frame.GOAWAY ? 4 : 0);

export const bytesOf = (session: RawSession, id: number): number =>
  session.received.filter(isOf(Frame.DATA, id)).reduce((sum, { payload }) => sum + payload.length, 0);

/** Sends what `make` makes until the server closes the connection, or `count` times. Returns how many times. */
export async function flood(
  session: RawSession,
  count: number,
  make: (index: number) => Uint8Array[],
): Promise<number> {
  let sent = 0;
  for (; sent < count && !session.isClosed; sent++) {
    if (!session.write(...make(sent))) await session.drained();
    else if (sent % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return sent;
}
