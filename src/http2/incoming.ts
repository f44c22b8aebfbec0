/** Reads the frames of a client, and ends what breaks the rules: https://www.rfc-editor.org/rfc/rfc9113 sections 5 and 6. */
import type { Connection } from "./connection.js";
import { Budget } from "./budget.js";
import { ErrorCode, Flag, FrameType, INT31_MAX } from "./codes.js";
import { withoutPadding } from "./padding.js";
import { RequestReader } from "./request-reader.js";
import { readSettings } from "./settings.js";
import type { RequestStream } from "./stream.js";
import { Http2Violation, violation, wrongLength, wrongSize } from "./violations.js";

/** Frames that say nothing: so many at once, and per second. */
const IDLE_TALK_AT_ONCE = 10_000;
const IDLE_TALK_PER_SECOND = 1_000;
/** Settings that change the windows of all streams, which is work for each: so many at once, and per second. */
const WINDOW_CHANGES_AT_ONCE = 100;
const WINDOW_CHANGES_PER_SECOND = 5;

export class Incoming {
  hasSettings = false;
  private readonly requests: RequestReader;
  private readonly idleTalk = new Budget(IDLE_TALK_AT_ONCE, IDLE_TALK_PER_SECOND);
  private readonly windowChanges = new Budget(WINDOW_CHANGES_AT_ONCE, WINDOW_CHANGES_PER_SECOND);

  constructor(private readonly connection: Connection) {
    this.requests = new RequestReader(connection);
  }

  /** When a header block began whose end has not come; undefined: there is none. */
  get blockSinceMs(): number | undefined {
    return this.requests.block?.sinceMs;
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
    const { block } = this.requests;
    if (block !== undefined && (type !== FrameType.continuation || streamId !== block.streamId)) {
      throw violation("Another frame is in the middle of a header block.");
    }
    switch (type) {
      case FrameType.data:
        this.data(flags, streamId, bytes, start, end);
        break;
      case FrameType.headers:
        this.requests.headers(flags, streamId, bytes, start, end);
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
        this.requests.continuation(flags, bytes.subarray(start, end));
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
      // Not counted as a reset: what was on its way when many streams were refused is no abuse.
      this.countIdleTalk();
      this.connection.refuse(streamId, ErrorCode.streamClosed);
      return;
    }
    if (stream.isReceived) throw new Http2Violation(ErrorCode.streamClosed, "DATA behind the end.", streamId);
    if (stream.contentLeft !== undefined) {
      stream.contentLeft -= to - from;
      if (stream.contentLeft < 0 || (isEnd && stream.contentLeft > 0)) throw wrongLength(streamId);
    }
    if (to === from && !isEnd) this.countIdleTalk();
    if (isEnd) {
      stream.isReceived = true;
      this.connection.finished(stream);
    } else if (stream.readsAtOnce) {
      this.countUnfinished(stream, to - from);
    }
    // Of padding nobody else takes note.
    stream.credit(stream.readsAtOnce ? end - start : end - start - (to - from));
    if (to > from) stream.listener?.receive(bytes.subarray(from, to));
    if (isEnd) stream.listener?.received();
  }

  /** Whoever collects a body holds it until its end. Nothing was done of the request yet, and its client may send it again. */
  private countUnfinished(stream: RequestStream, bytes: number): void {
    stream.unfinishedBytes += bytes;
    this.connection.unfinishedBytes += bytes;
    if (this.connection.unfinishedBytes > this.connection.limits.unfinishedBytesMax)
      throw new Http2Violation(ErrorCode.refusedStream, "Too much of too many bodies came.", stream.id);
  }

  private priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw violation("PRIORITY of the connection.");
    // Of a stream that nobody opened nothing may be said but the end of the connection (RFC 9113 section 6.4).
    if (end - start !== 5)
      throw wrongSize("PRIORITY", streamId > this.connection.lastStreamId ? undefined : streamId);
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
    if (initialWindow !== undefined && !this.windowChanges.take())
      throw new Http2Violation(ErrorCode.enhanceYourCalm, "The windows change too often.");
    if (initialWindow !== undefined && !sender.useInitialWindow(initialWindow, streams.values())) {
      throw new Http2Violation(ErrorCode.flowControlError, "A window is too large.");
    }
    sender.numbers(FrameType.settings, Flag.ack, 0);
  }

  private ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw violation("PING on a stream.");
    if (end - start !== 8) throw wrongSize("PING");
    if ((flags & Flag.ack) !== 0) {
      this.connection.onPong?.(bytes.readUInt32BE(start + 4));
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
