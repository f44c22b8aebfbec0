/** HTTP/2 frames by hand (RFC 9113 section 4.1), for what no client library sends. Header blocks are HPACK literals without compression. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export const Frame = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

/** Error codes (RFC 9113 section 7). */
export const CANCEL = 8;
export const ENHANCE_YOUR_CALM = 11;

export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** A header block: "literal header field never indexed" for each (RFC 7541 section 6.2.3). */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(fields)) {
    parts.push(Buffer.from([0x10]), hpackString(name), hpackString(value));
  }
  return Buffer.concat(parts);
}

/** A field whose value is so many zeros, a multiple of 8, in Huffman code: five bits for each (RFC 7541 appendix B). */
export function huffmanZeros(name: string, count: number): Buffer {
  const length = hpackInteger((count * 5) / 8);
  length.writeUInt8(length.readUInt8(0) | 0x80, 0);
  return Buffer.concat([Buffer.from([0x10]), hpackString(name), length, Buffer.alloc((count * 5) / 8)]);
}

function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([hpackInteger(bytes.length), bytes]);
}

/** With a prefix of 7 bits (RFC 7541 section 5.1). */
function hpackInteger(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32BE(value, index * 4));
  return bytes;
}

/** One setting (RFC 9113 section 6.5.1). */
export function setting(identifier: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(identifier, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

/** A frame that came from the server. */
export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** A connection of raw frames. */
export class RawSession {
  readonly received: ReceivedFrame[] = [];
  isClosed = false;
  private rest: Buffer = Buffer.alloc(0);
  private pings = 0x7e57_0000;
  private waiting: (() => void)[] = [];

  private constructor(readonly socket: Socket) {
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
      this.wake();
    });
    socket.on("drain", () => this.wake());
    socket.on("data", (chunk: Buffer) => {
      this.take(chunk);
      this.wake();
    });
  }

  /** Connects, and says hello with these settings. */
  static async open(port: number, settings: Uint8Array = Buffer.alloc(0)): Promise<RawSession> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return RawSession.greet(socket, settings);
  }

  /** The same under TLS, whatever the certificate. */
  static async openTls(port: number, settings?: Uint8Array): Promise<RawSession> {
    const socket = connectTls({ port, host: "127.0.0.1", ALPNProtocols: ["h2"], rejectUnauthorized: false });
    await once(socket, "secureConnect");
    return RawSession.greet(socket, settings);
  }

  private static greet(socket: Socket, settings: Uint8Array = Buffer.alloc(0)): RawSession {
    const session = new RawSession(socket);
    session.write(PREFACE, frame(Frame.SETTINGS, 0, 0, settings));
    return session;
  }

  /** False: the connection's buffer is full. */
  write(...frames: Uint8Array[]): boolean {
    return this.socket.writable && this.socket.write(Buffer.concat(frames));
  }

  /** Waits until the buffer has gone out, or the connection is closed. */
  async drained(): Promise<void> {
    if (!this.isClosed && this.socket.writableNeedDrain) {
      await this.change();
    }
  }

  /** Resolves with the first frame that passes; undefined when the connection ends without one. */
  async until(wanted: (frame: ReceivedFrame) => boolean): Promise<ReceivedFrame | undefined> {
    for (;;) {
      const found = this.received.find(wanted);
      if (found !== undefined || this.isClosed) return found;
      await this.change();
    }
  }

  /** Resolves when so many streams have a response or were reset, or the connection is closed. */
  async answered(count: number): Promise<void> {
    const answered = new Set<number>();
    for (let seen = 0; ;) {
      for (; seen < this.received.length; seen++) {
        const { type, streamId } = this.received[seen] as ReceivedFrame;
        if (type === Frame.HEADERS || type === Frame.RST_STREAM) answered.add(streamId);
      }
      if (answered.size >= count || this.isClosed) return;
      await this.change();
    }
  }

  async closed(): Promise<void> {
    if (!this.isClosed) await once(this.socket, "close");
  }

  /** The error code of the server's GOAWAY; undefined: it sent none. */
  get goAwayCode(): number | undefined {
    return this.received.findLast(({ type }) => type === Frame.GOAWAY)?.payload.readUInt32BE(4);
  }

  close(): void {
    this.socket.destroy();
  }

  /** Sends a PING and waits for its answer: everything sent before has been handled then. False if the connection closed. */
  async roundTrip(): Promise<boolean> {
    const payload = uint32(0, ++this.pings);
    this.write(frame(Frame.PING, 0, 0, payload));
    const pong = await this.until(
      (one) => one.type === Frame.PING && one.flags === ACK && one.payload.equals(payload),
    );
    return pong !== undefined;
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private take(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    while (this.rest.length >= 9) {
      const length = this.rest.readUIntBE(0, 3);
      if (this.rest.length < 9 + length) return;
      this.received.push({
        type: this.rest.readUInt8(3),
        flags: this.rest.readUInt8(4),
        streamId: this.rest.readUInt32BE(5),
        payload: this.rest.subarray(9, 9 + length),
      });
      this.rest = this.rest.subarray(9 + length);
    }
  }
}
