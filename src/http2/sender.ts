/**
 * What leaves a connection: frames in order, as much as flow control (RFC 9113 section 5.2) and the socket let through, the streams in turn.
 * All that is made in one turn of the event loop leaves in one write.
 */
import type { Socket } from "node:net";
import { Flag, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameType, INT31_MAX, WINDOW_BYTES } from "./codes.js";
import { dateText } from "./date.js";
import { fieldBytesMax, STATUS_BYTES_MAX, writeField, writeStatus } from "./field-encoder.js";
import { addData, Output, writeHead } from "./output.js";
import type { Fields, RequestStream } from "./stream.js";

/** Above this, bodies wait in their streams until the socket has taken what it has. */
const SOCKET_BYTES_MAX = 262_144;
/** How much of one stream is sent before it is the next one's turn. */
const TURN_BYTES = 65_536;
/** RFC 7541 section 6.3: from now on our table is empty. */
const TABLE_SIZE_0 = 0x20;

export class Sender {
  /** What the peer gives each new stream. */
  initialWindow = WINDOW_BYTES;
  readonly output = new Output();
  private window = WINDOW_BYTES;
  private readonly ready = new Set<RequestStream>();
  private isScheduled = false;
  private mustResizeTable = false;
  private readonly flushLater = (): void => {
    this.isScheduled = false;
    this.guarded(() => this.flush());
  };

  /** `guarded` runs what may call a listener of a stream. */
  constructor(
    private readonly socket: Socket,
    private readonly guarded: (run: () => void) => void,
  ) {
    socket.on("drain", () => guarded(() => this.flush()));
  }

  /** What waits for the client to take it, beside the bodies in their streams. */
  get waitingBytes(): number {
    return this.output.bytes + this.socket.writableLength;
  }

  /** A small frame whose payload is of numbers of 32 bits. */
  numbers(type: number, flags: number, streamId: number, ...values: readonly number[]): void {
    this.output.numbers(type, flags, streamId, ...values);
    this.schedule();
  }

  /** The header block of an answer; throws where a field can't be sent. */
  headers(stream: RequestStream, status: number, fields: Fields, isEnd: boolean): void {
    const date = status < 200 || fields.date !== undefined ? "" : dateText();
    const bytesMax = STATUS_BYTES_MAX + fieldBytesMax("date", date) + blockBytesMax(fields);
    const block = (buffer: Buffer, start: number): number => {
      let at = writeStatus(status, buffer, start);
      if (date !== "") at = writeField("date", date, buffer, at);
      return writeFields(fields, buffer, at);
    };
    this.block(stream.id, isEnd, bytesMax, block);
  }

  /** Sends of a stream what can be sent now. The rest waits for its turn. */
  send(stream: RequestStream): void {
    if (this.waitingBytes >= SOCKET_BYTES_MAX || this.ready.has(stream) || this.pump(stream))
      this.ready.add(stream);
    this.schedule();
  }

  forget(stream: RequestStream): void {
    this.ready.delete(stream);
  }

  /** The peer takes more: of one stream, or of all. False where the window is larger than it may be. */
  widen(bytes: number, stream?: RequestStream): boolean {
    if (stream === undefined) {
      this.window += bytes;
      if (this.window > INT31_MAX) return false;
    } else {
      stream.sendWindow += bytes;
      if (stream.sendWindow > INT31_MAX) return false;
      if (isWaiting(stream)) this.ready.add(stream);
    }
    if (this.ready.size > 0) this.schedule();
    return true;
  }

  /** The peer changed what each stream may be sent. False where a window is larger than it may be. */
  useInitialWindow(bytes: number, streams: Iterable<RequestStream>): boolean {
    const difference = bytes - this.initialWindow;
    this.initialWindow = bytes;
    for (const stream of streams) if (!this.widen(difference, stream)) return false;
    return true;
  }

  /** The peer's table for our fields is smaller than the standard; as we use none, it is told so once (RFC 7541 section 4.2). */
  emptyTable(): void {
    this.mustResizeTable = true;
  }

  schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.flushLater);
  }

  /** Hands to the socket what there is. */
  flush(): void {
    const { socket, output, ready } = this;
    if (!socket.writable) return;
    for (const stream of ready) {
      if (this.waitingBytes >= SOCKET_BYTES_MAX) break;
      if (this.window <= 0 && stream.queuedBytes > 0) continue;
      ready.delete(stream);
      if (this.pump(stream)) ready.add(stream);
    }
    const pieces = output.take();
    if (pieces.length > 1) socket.cork();
    for (const piece of pieces) socket.write(piece);
    if (pieces.length > 1) socket.uncork();
  }

  /** Sends up to a turn's bytes of a stream. Whether it could send more, were it its turn again. */
  private pump(stream: RequestStream): boolean {
    const { output } = this;
    let turn = TURN_BYTES;
    while (stream.queuedBytes > 0) {
      const bytes = Math.min(stream.queuedBytes, stream.sendWindow, this.window, FRAME_BYTES_MAX, turn);
      if (bytes <= 0) return stream.sendWindow > 0;
      this.window -= bytes;
      stream.sendWindow -= bytes;
      turn -= bytes;
      const isLast = bytes === stream.queuedBytes && stream.endsBehindQueue && stream.trailers === undefined;
      output.head(FrameType.data, isLast ? Flag.endStream : 0, stream.id, bytes);
      moveQueue(stream, output, bytes);
      if (isLast) {
        stream.sent();
        return false;
      }
    }
    if (stream.endsBehindQueue) this.end(stream);
    else stream.taken();
    return false;
  }

  private end(stream: RequestStream): void {
    const { trailers } = stream;
    if (trailers === undefined) {
      addData(this.output, stream.id, Flag.endStream, NO_BYTES);
    } else {
      this.block(stream.id, true, blockBytesMax(trailers), (buffer, at) => writeFields(trailers, buffer, at));
    }
    stream.sent();
  }

  /** A header block; where `write` throws, nothing of it is sent. */
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

function isWaiting(stream: RequestStream): boolean {
  return stream.queuedBytes > 0 || (stream.endsBehindQueue && !stream.isSent);
}

function moveQueue(stream: RequestStream, output: Output, bytes: number): void {
  const { queue } = stream;
  stream.queuedBytes -= bytes;
  stream.connection.queuedBytes -= bytes;
  stream.takenBytes += bytes;
  let left = bytes;
  while (left > 0) {
    const piece = queue[stream.queueAt] ?? NO_BYTES;
    if (piece.length > left) {
      output.add(piece.subarray(0, left));
      queue[stream.queueAt] = piece.subarray(left);
      return;
    }
    output.add(piece);
    left -= piece.length;
    stream.queueAt++;
  }
  if (stream.queueAt === queue.length) {
    queue.length = 0;
    stream.queueAt = 0;
  }
}

function blockBytesMax(fields: Fields): number {
  let bytes = 0;
  for (const name in fields) bytes += fieldBytesMax(name, fields[name] ?? "");
  return bytes;
}

function writeFields(fields: Fields, buffer: Buffer, at: number): number {
  for (const name in fields) at = writeField(name, fields[name] ?? "", buffer, at);
  return at;
}
