/** Reads the frames of a client, and ends what breaks the rules: https://www.rfc-editor.org/rfc/rfc9113 sections 5 and 6. */
import type { Connection } from "./connection.js";
import { Budget } from "./budget.js";
import { ErrorCode, Flag, FrameType, Http2Violation, INT31_MAX } from "./codes.js";
import { FieldDecoder } from "./field-decoder.js";
import { HeaderBlock } from "./header-block.js";
import { contentLengthOf, requestHeaders, requestTrailers } from "./request-fields.js";
import { readSettings } from "./settings.js";
import type { RequestStream } from "./stream.js";

/** The most fields of a request; Node has the same limit. */
const FIELDS_MAX = 128;
/** A compressed block is shorter than what it says, or hardly longer. */
const BLOCK_SURPLUS_BYTES = 16_384;
/** Frames that say nothing: so many at once, and per second. */
const IDLE_TALK_AT_ONCE = 10_000;
const IDLE_TALK_PER_SECOND = 1_000;

export class Incoming {
  hasSettings = false;
  /** A header block whose end has not come. */
  block: HeaderBlock | undefined;
  private readonly decoder: FieldDecoder;
  private readonly idleTalk = new Budget(IDLE_TALK_AT_ONCE, IDLE_TALK_PER_SECOND);

  constructor(private readonly connection: Connection) {
    this.decoder = new FieldDecoder({ bytesMax: connection.limits.headerBytesMax, fieldsMax: FIELDS_MAX });
  }

  /** Takes a frame. Throws what ends the connection. */
  take(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    try {
      this.dispatch(type, flags, streamId, bytes, start, end);
    } catch (error) {
      if (!(error instanceof Http2Violation) || error.streamId === undefined) throw error;
      this.refuse(error.streamId, error.code);
    }
  }

  private dispatch(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (!this.hasSettings && type !== FrameType.settings) throw violation("The first frame is not SETTINGS.");
    if (this.block !== undefined && (type !== FrameType.continuation || streamId !== this.block.streamId)) {
      throw violation("Another frame is in the middle of a header block.");
    }
    switch (type) {
      case FrameType.data:
        this.data(flags, streamId, bytes, start, end);
        break;
      case FrameType.headers:
        this.headers(flags, streamId, bytes, start, end);
        break;
      case FrameType.priority:
        this.priority(streamId, bytes, start, end);
        break;
      case FrameType.rstStream:
        this.rstStream(streamId, bytes, start, end);
        break;
      case FrameType.settings:
        this.settings(flags, streamId, bytes, start, end);
        break;
      case FrameType.ping:
        this.ping(flags, streamId, bytes, start, end);
        break;
      case FrameType.goAway:
        if (streamId !== 0) throw violation("GOAWAY on a stream.");
        if (end - start < 8) throw wrongSize("GOAWAY");
        break;
      case FrameType.windowUpdate:
        this.windowUpdate(streamId, bytes, start, end);
        break;
      case FrameType.continuation:
        this.continuation(flags, bytes.subarray(start, end));
        break;
      case FrameType.pushPromise:
        throw violation("A client can't push.");
      default:
        // Section 5.5: what is not known is ignored.
        this.countIdleTalk();
        break;
    }
  }

  private data(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const stream = this.streamOf(streamId, "DATA");
    this.connection.countReceived(end - start, stream);
    const [from, to] = withoutPadding(flags, bytes, start, end);
    const isEnd = (flags & Flag.endStream) !== 0;
    if (stream === undefined) {
      if (this.connection.wasResetLately(streamId, isEnd)) return;
      throw new Http2Violation(ErrorCode.streamClosed, "DATA on a closed stream.", streamId);
    }
    if (stream.isReceived) throw new Http2Violation(ErrorCode.streamClosed, "DATA behind the end.", streamId);
    if (stream.contentLeft !== undefined) {
      stream.contentLeft -= to - from;
      if (stream.contentLeft < 0 || (isEnd && stream.contentLeft > 0)) throw wrongLength(streamId);
    }
    if (to === from && !isEnd) this.countIdleTalk();
    if (isEnd) stream.isReceived = true;
    // Of padding nobody else takes note.
    stream.credit(stream.readsAtOnce ? end - start : end - start - (to - from));
    if (to > from) stream.listener?.receive(bytes.subarray(from, to));
    if (isEnd) stream.listener?.received();
  }

  private headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId % 2 === 0) throw violation(`HEADERS on stream ${streamId}.`);
    const [contentStart, to] = withoutPadding(flags, bytes, start, end);
    let from = contentStart;
    let dependsOnItself = false;
    if ((flags & Flag.priority) !== 0) {
      if (to - from < 5) throw wrongSize("HEADERS");
      dependsOnItself = (bytes.readUInt32BE(from) & INT31_MAX) === streamId;
      from += 5;
    }
    if ((flags & Flag.endHeaders) === 0) {
      const { headerBytesMax } = this.connection.limits;
      this.block = new HeaderBlock(streamId, flags, headerBytesMax + BLOCK_SURPLUS_BYTES, performance.now());
      this.block.add(bytes.subarray(from, to), flags);
    } else {
      this.fields(flags, streamId, bytes, from, to);
    }
    // Only now: the table must stay the same as the client's.
    if (dependsOnItself) throw violation("A stream depends on itself.", streamId);
  }

  private continuation(flags: number, piece: Buffer): void {
    const { block } = this;
    if (block === undefined) throw violation("CONTINUATION of nothing.");
    const whole = block.add(piece, flags);
    if (whole === undefined) return;
    this.block = undefined;
    this.fields(block.flags, block.streamId, whole, 0, whole.length);
  }

  /** A header block is complete. */
  private fields(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    const fields = this.decoder.decode(bytes, start, end);
    const isEnd = (flags & Flag.endStream) !== 0;
    const stream = connection.streams.get(streamId);
    if (stream !== undefined) {
      this.trailers(stream, fields, isEnd);
      return;
    }
    if (streamId <= connection.lastStreamId) {
      if (connection.wasResetLately(streamId, isEnd)) return;
      throw new Http2Violation(ErrorCode.streamClosed, "HEADERS on a closed stream.");
    }
    connection.lastStreamId = streamId;
    if (connection.isLeaving || connection.streams.size >= connection.limits.streamsPerConnectionMax) {
      throw new Http2Violation(ErrorCode.refusedStream, "There are too many streams.", streamId);
    }
    if (fields === undefined) throw tooLarge(streamId);
    const headers = requestHeaders(fields, streamId);
    const length = contentLengthOf(headers, streamId);
    if (isEnd && length !== undefined && length > 0) throw wrongLength(streamId);
    connection.open(streamId, headers, fields, isEnd, length);
  }

  private trailers(stream: RequestStream, fields: readonly string[] | undefined, isEnd: boolean): void {
    const { id } = stream;
    if (stream.isReceived) throw new Http2Violation(ErrorCode.streamClosed, "HEADERS behind the end.", id);
    if (!isEnd) throw violation("Trailers that are not the end.", id);
    if (fields === undefined) throw tooLarge(id);
    if (stream.contentLeft !== undefined && stream.contentLeft > 0) throw wrongLength(id);
    const trailers = requestTrailers(fields, id);
    stream.isReceived = true;
    stream.listener?.received(trailers);
  }

  private priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw violation("PRIORITY of the connection.");
    if (end - start !== 5) throw wrongSize("PRIORITY", streamId);
    if ((bytes.readUInt32BE(start) & INT31_MAX) === streamId)
      throw violation("A stream depends on itself.", streamId);
    this.countIdleTalk();
  }

  private rstStream(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw wrongSize("RST_STREAM");
    const stream = this.streamOf(streamId, "RST_STREAM");
    if (stream === undefined) {
      this.connection.wasResetLately(streamId, true);
      this.countIdleTalk();
      return;
    }
    stream.resetCode = bytes.readUInt32BE(start);
    this.connection.over(stream);
    this.connection.countReset();
  }

  private settings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw violation("SETTINGS on a stream.");
    if ((flags & Flag.ack) !== 0) {
      if (end !== start) throw wrongSize("SETTINGS");
      if (!this.hasSettings) throw violation("The first frame is not SETTINGS.");
      return;
    }
    this.hasSettings = true;
    this.countIdleTalk();
    const { sender, streams } = this.connection;
    const { initialWindow, hasSmallTable } = readSettings(bytes, start, end);
    if (hasSmallTable === true) sender.emptyTable();
    if (initialWindow !== undefined && !sender.useInitialWindow(initialWindow, streams.values())) {
      throw new Http2Violation(ErrorCode.flowControlError, "A window is too large.");
    }
    sender.numbers(FrameType.settings, Flag.ack, 0);
  }

  private ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw violation("PING on a stream.");
    if (end - start !== 8) throw wrongSize("PING");
    if ((flags & Flag.ack) !== 0) {
      this.connection.onPong?.();
      return;
    }
    const { sender } = this.connection;
    sender.numbers(FrameType.ping, Flag.ack, 0, bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4));
  }

  private windowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw wrongSize("WINDOW_UPDATE");
    const increment = bytes.readUInt32BE(start) & INT31_MAX;
    const { sender } = this.connection;
    if (streamId === 0) {
      if (increment === 0) throw violation("A window grows by nothing.");
      if (!sender.widen(increment)) {
        throw new Http2Violation(ErrorCode.flowControlError, "The connection's window is too large.");
      }
      return;
    }
    const stream = this.streamOf(streamId, "WINDOW_UPDATE");
    if (stream === undefined) return;
    if (increment === 0) throw violation("A window grows by nothing.", streamId);
    if (!sender.widen(increment, stream)) {
      throw new Http2Violation(ErrorCode.flowControlError, "A stream's window is too large.", streamId);
    }
  }

  /** The stream that a frame is about; undefined for one that is no more. */
  private streamOf(streamId: number, what: string): RequestStream | undefined {
    if (streamId === 0) throw violation(`${what} on the connection.`);
    const stream = this.connection.streams.get(streamId);
    if (stream === undefined && (streamId > this.connection.lastStreamId || streamId % 2 === 0)) {
      throw violation(`${what} on a stream that nobody opened.`);
    }
    return stream;
  }

  private refuse(streamId: number, code: number): void {
    const stream = this.connection.streams.get(streamId);
    if (stream === undefined) this.connection.refuse(streamId, code);
    else this.connection.reset(stream, code);
    this.connection.countReset();
  }

  private countIdleTalk(): void {
    if (!this.idleTalk.take()) {
      throw new Http2Violation(ErrorCode.enhanceYourCalm, "There are too many frames that say nothing.");
    }
  }
}

/** Where the content begins and ends (section 6.1). */
function withoutPadding(flags: number, bytes: Buffer, start: number, end: number): [number, number] {
  if ((flags & Flag.padded) === 0) return [start, end];
  if (start === end) throw wrongSize("A padded frame");
  const padding = bytes[start] ?? 0;
  if (start + 1 + padding > end) throw violation("There is more padding than frame.");
  return [start + 1, end - padding];
}

function violation(message: string, streamId?: number): Http2Violation {
  return new Http2Violation(ErrorCode.protocolError, message, streamId);
}

function wrongSize(what: string, streamId?: number): Http2Violation {
  return new Http2Violation(ErrorCode.frameSizeError, `${what} of a size that can't be.`, streamId);
}

function wrongLength(streamId: number): Http2Violation {
  return violation("The body is not as long as its content-length says.", streamId);
}

function tooLarge(streamId: number): Http2Violation {
  return new Http2Violation(ErrorCode.enhanceYourCalm, "The header fields are too large.", streamId);
}
