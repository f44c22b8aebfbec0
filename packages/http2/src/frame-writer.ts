/**
 * Sends the frames of a connection in order, within the flow-control windows (RFC 9113 section 5.2), the streams in turn. Everything produced in
 * one turn of the event loop leaves in one write.
 */
import type { Duplex } from "node:stream";
import { Flag, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameType, INT31_MAX, WINDOW_BYTES } from "./codes.js";
import { dateText } from "./date.js";
import {
  blockBytesMax,
  fieldBytesMax,
  STATUS_BYTES_MAX,
  writeField,
  writeFields,
  writeStatus,
} from "./field-encoder.js";
import type { RequestStream } from "./stream.js";
import type { Fields } from "./stream-events.js";
import { addData, WriteBuffer, writeHead } from "./write-buffer.js";

/** Above this, bodies wait in their streams until the socket drains. */
const SOCKET_BYTES_MAX = 262_144;
/** Bytes of one stream sent before the next one's turn. */
const TURN_BYTES = 65_536;
/** Dynamic table size update to 0 (RFC 7541 section 6.3). */
const TABLE_SIZE_0 = 0x20;

export class FrameWriter {
  /** The send window of each new stream: SETTINGS_INITIAL_WINDOW_SIZE of the peer. */
  initialWindow = WINDOW_BYTES;
  readonly output = new WriteBuffer();
  private window = WINDOW_BYTES;
  private readonly ready = new Set<RequestStream>();
  private isScheduled = false;
  private mustResizeTable = false;
  private readonly flushLater = (): void => {
    this.isScheduled = false;
    this.guarded(() => this.flush());
  };

  /** `guarded` runs code that may call stream listeners. `onWritten`: the socket has more, or less, to send. */
  constructor(
    private readonly socket: Duplex,
    private readonly guarded: (run: () => void) => void,
    private readonly onWritten: () => void,
  ) {
    socket.on("drain", () =>
      guarded(() => {
        this.flush();
        onWritten();
      }),
    );
  }

  /** Bytes that wait to be sent, without the bodies queued in their streams. */
  get waitingBytes(): number {
    return this.output.bytes + this.socket.writableLength;
  }

  /** Sends a frame whose payload is a list of 32-bit integers. */
  numbers(type: number, flags: number, streamId: number, ...values: readonly number[]): void {
    this.output.numbers(type, flags, streamId, ...values);
    this.schedule();
  }

  /** Sends the header block of a response. Throws a TypeError for a field that HTTP/2 cannot carry. */
  headers(streamId: number, status: number, fields: Fields, isEnd: boolean): void {
    const date = status < 200 || fields.date !== undefined ? "" : dateText();
    const bytesMax = STATUS_BYTES_MAX + fieldBytesMax("date", date) + blockBytesMax(fields);
    const block = (buffer: Buffer, start: number): number => {
      let at = writeStatus(status, buffer, start);
      if (date !== "") at = writeField("date", date, buffer, at);
      return writeFields(fields, buffer, at);
    };
    this.block(streamId, isEnd, bytesMax, block);
  }

  /** Sends as much of a stream as possible now. The rest waits for its turn. */
  send(stream: RequestStream): void {
    if (this.waitingBytes >= SOCKET_BYTES_MAX || this.ready.has(stream) || this.pump(stream))
      this.ready.add(stream);
    this.schedule();
  }

  forget(stream: RequestStream): void {
    this.ready.delete(stream);
  }

  /** Widens the window of a stream, or of the connection. False if it exceeds the largest allowed. */
  widen(bytes: number, stream?: RequestStream): boolean {
    if (stream === undefined) {
      this.window += bytes;
      if (this.window > INT31_MAX) return false;
    } else {
      if (!stream.queue.widen(bytes)) return false;
      if (stream.queue.isWaiting) this.ready.add(stream);
    }
    if (this.ready.size > 0) this.schedule();
    return true;
  }

  /** Applies a new SETTINGS_INITIAL_WINDOW_SIZE to all streams (RFC 9113 section 6.9.2). False if a window exceeds the largest allowed. */
  useInitialWindow(bytes: number, streams: Iterable<RequestStream>): boolean {
    const difference = bytes - this.initialWindow;
    this.initialWindow = bytes;
    for (const stream of streams) if (!this.widen(difference, stream)) return false;
    return true;
  }

  /** The peer lowered SETTINGS_HEADER_TABLE_SIZE. Our blocks use no dynamic table: announce that once (RFC 7541 section 4.2). */
  emptyTable(): void {
    this.mustResizeTable = true;
  }

  schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.flushLater);
  }

  /** Writes everything possible to the socket. */
  flush(): void {
    const { socket, output, ready } = this;
    if (!socket.writable) return;
    for (const stream of ready) {
      if (this.waitingBytes >= SOCKET_BYTES_MAX) break;
      if (this.window <= 0 && stream.queue.bytes > 0) continue;
      ready.delete(stream);
      if (this.pump(stream)) ready.add(stream);
    }
    const pieces = output.take();
    if (pieces.length > 1) socket.cork();
    for (const piece of pieces) socket.write(piece);
    if (pieces.length > 1) socket.uncork();
    if (pieces.length > 0) this.onWritten();
  }

  /** Sends up to one turn of a stream. Returns whether it could send more. */
  private pump(stream: RequestStream): boolean {
    const { output } = this;
    let turn = TURN_BYTES;
    const { queue } = stream;
    while (queue.bytes > 0) {
      const bytes = Math.min(queue.bytes, queue.windowBytes, this.window, FRAME_BYTES_MAX, turn);
      if (bytes <= 0) return queue.windowBytes > 0;
      this.window -= bytes;
      turn -= bytes;
      const isLast = bytes === queue.bytes && queue.isEnding && queue.trailers === undefined;
      output.head(FrameType.data, isLast ? Flag.endStream : 0, stream.id, bytes);
      stream.moveQueued(output, bytes);
      if (isLast) {
        stream.completeResponse();
        return false;
      }
    }
    if (queue.isEnding) this.end(stream);
    else stream.flushed();
    return false;
  }

  private end(stream: RequestStream): void {
    const { trailers } = stream.queue;
    if (trailers === undefined) {
      addData(this.output, stream.id, Flag.endStream, NO_BYTES);
    } else {
      this.block(stream.id, true, blockBytesMax(trailers), (buffer, at) => writeFields(trailers, buffer, at));
    }
    stream.completeResponse();
  }

  /** Sends a header block. If `write` throws, nothing is sent. */
  private block(
    streamId: number,
    isEnd: boolean,
    bytesMax: number,
    write: (buffer: Buffer, at: number) => number,
  ): void {
    const { output } = this;
    const flags = isEnd ? Flag.endStream : 0;
    const buffer = output.room(FRAME_HEAD_BYTES + 1 + bytesMax);
    const start = output.offset + FRAME_HEAD_BYTES;
    const prefix = this.mustResizeTable ? 1 : 0;
    const length = write(buffer, start + prefix) - start;
    if (prefix === 1) buffer[start] = TABLE_SIZE_0;
    this.mustResizeTable = false;
    if (length <= FRAME_BYTES_MAX) {
      writeHead(buffer, output.offset, FrameType.headers, flags | Flag.endHeaders, streamId, length);
      output.advance(FRAME_HEAD_BYTES + length);
    } else {
      this.longBlock(streamId, flags, Buffer.from(buffer.subarray(start, start + length)));
    }
    this.schedule();
  }

  private longBlock(streamId: number, flags: number, block: Buffer): void {
    for (let at = 0; at < block.length; at += FRAME_BYTES_MAX) {
      const piece = block.subarray(at, at + FRAME_BYTES_MAX);
      const isLast = at + FRAME_BYTES_MAX >= block.length;
      const type = at === 0 ? FrameType.headers : FrameType.continuation;
      const all = (at === 0 ? flags : 0) | (isLast ? Flag.endHeaders : 0);
      this.output.head(type, all, streamId, piece.length);
      this.output.add(piece);
    }
  }
}

const NO_BYTES = Buffer.alloc(0);
