// Watchers by gRPC that cost little beside the server that they measure: HTTP/2 frames read by hand (RFC 9113), many streams on few
// connections, nothing decoded but the heads of frames and messages.
import { once } from "node:events";
import { connect } from "node:net";

const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE] = [0, 1, 3, 4, 6, 7, 8];
const [END_STREAM, ACK, END_HEADERS] = [1, 1, 4];
const WATCH_PATH = "/ironflow.kv.v1.KeyValueService/Watch";
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const WINDOW_MAX = 0x7fffffff;
/** The connection's window is filled up again when so much of it was used. */
const WINDOW_STEP = 1 << 28;

/** One connection with watches on it: `onEvent(stream)` for each message of each stream, by their numbers from 0. */
export class RawWatchers {
  /** Messages by stream. */
  events = [];
  /** Answers to pings. */
  pongs = 0;
  #failure;
  #rest = Buffer.alloc(0);
  /** Bytes of the message that is being received, by stream: still to come, or of its head. */
  #messages = new Map();
  #used = 0;
  #onEvent;
  #countOf;
  #waiting = [];
  #headers = 0;

  /**
   * `path`: of the method. `keepsOpen`: the server ends a watch with the request. `countOf`: returns how many events a message brings.
   * Default: each is one.
   */
  static async open(port, request, count, options = {}) {
    const socket = connect(port, "127.0.0.1");
    socket.setNoDelay(true);
    await once(socket, "connect");
    return new RawWatchers(socket, request, count, options);
  }

  constructor(socket, request, count, options) {
    const { onEvent = () => undefined, window = WINDOW_MAX, path = WATCH_PATH, keepsOpen = false } = options;
    this.socket = socket;
    this.#onEvent = onEvent;
    this.#countOf = options.countOf;
    this.events = new Array(count).fill(0);
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("error", (error) => (this.#failure = error));
    socket.on("close", () => {
      this.#failure ??= new Error("a connection with watches was closed");
      this.#wake();
    });
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0);
    settings.writeUInt32BE(window, 2);
    const frames = [
      PREFACE,
      frame(SETTINGS, 0, 0, settings),
      frame(WINDOW_UPDATE, 0, 0, uint32(WINDOW_MAX - 65_535)),
    ];
    const head = headerBlock({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "localhost",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    for (let index = 0; index < count; index++) {
      const id = 1 + 2 * index;
      frames.push(
        frame(HEADERS, END_HEADERS, id, head),
        frame(DATA, keepsOpen ? 0 : END_STREAM, id, request),
      );
    }
    socket.write(Buffer.concat(frames));
  }

  /** Resolves when every stream has had so many messages. */
  async have(count) {
    await this.#until(() => this.events.every((events) => events >= count));
  }

  /** Resolves when every stream has had its headers. */
  async placed() {
    await this.#until(() => this.#headers >= this.events.length);
  }

  async #until(isTrue) {
    while (!isTrue()) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Gives every watch up, as clients do that go on with others on the connection. */
  reset() {
    const cancel = uint32(8);
    this.socket.write(
      Buffer.concat(this.events.map((_, index) => frame(RST_STREAM, 0, 1 + 2 * index, cancel))),
    );
  }

  /** Resolves when the server has worked on all that was sent before. */
  async ping() {
    this.socket.write(frame(PING, 0, 0, Buffer.alloc(8)));
    const { pongs } = this;
    await this.#until(() => this.pongs > pongs);
  }

  /** Reads nothing more. */
  pause() {
    this.socket.pause();
  }

  close() {
    this.socket.destroy();
  }

  #take(chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length - at < 9 + length) break;
      const id = bytes.readUInt32BE(at + 5) & WINDOW_MAX;
      this.#frame(bytes[at + 3], bytes[at + 4], id, bytes.subarray(at + 9, at + 9 + length));
      at += 9 + length;
    }
    this.#rest = bytes.subarray(at);
    this.#wake();
  }

  #frame(type, flags, id, payload) {
    if (type === DATA) this.#data((id - 1) / 2, payload);
    else if (type === HEADERS && (flags & END_STREAM) === 0) this.#headers++;
    else if (type === SETTINGS && (flags & ACK) === 0)
      this.socket.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)));
    else if (type === PING && (flags & ACK) !== 0) this.pongs++;
    else if (type === PING) this.socket.write(frame(PING, ACK, 0, payload));
    else if (type === HEADERS || type === RST_STREAM || type === GOAWAY) {
      this.socket.destroy(new Error("the server ended a watch"));
    }
  }

  #data(index, payload) {
    this.#used += payload.length;
    if (this.#used >= WINDOW_STEP) {
      this.socket.write(frame(WINDOW_UPDATE, 0, 0, uint32(this.#used)));
      this.#used = 0;
    }
    let state = this.#messages.get(index);
    if (state === undefined) this.#messages.set(index, (state = { head: 0, left: 0, length: 0, parts: [] }));
    for (let at = 0; at < payload.length;) {
      if (state.head < 5) {
        // The first byte of a head is the flags.
        if (state.head > 0) state.length = state.length * 256 + payload[at];
        state.head++;
        at++;
        if (state.head === 5) state.left = state.length;
      } else {
        const step = Math.min(state.left, payload.length - at);
        if (this.#countOf !== undefined) state.parts.push(payload.subarray(at, at + step));
        state.left -= step;
        at += step;
      }
      if (state.head === 5 && state.left === 0) {
        state.head = 0;
        state.length = 0;
        this.events[index] += this.#countOf?.(Buffer.concat(state.parts.splice(0))) ?? 1;
        this.#onEvent(index);
      }
    }
  }
}

function frame(type, flags, streamId, payload) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

function uint32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Literal header fields, never indexed (RFC 7541 section 6.2.3), each shorter than 127 bytes. */
function headerBlock(fields) {
  const text = (value) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return Buffer.concat(
    Object.entries(fields).map(([name, value]) =>
      Buffer.concat([Buffer.from([0x10]), text(name), text(value)]),
    ),
  );
}
