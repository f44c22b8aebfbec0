/** Handles the frames of a client and enforces the rules of RFC 9113 sections 5 and 6. */
import type { Connection } from "./connection.js";
import { ErrorCode, Flag, FrameType, INT31_MAX } from "./codes.js";
import { withoutPadding } from "./padding.js";
import { frameSizeError, Http2Error, protocolError } from "./errors.js";
import { RequestReader } from "./request-reader.js";
import { readSettings } from "./settings.js";
import type { RequestStream } from "./stream.js";

export class FrameHandler {
  hasSettings = false;
  private readonly requests: RequestReader;

  constructor(private readonly connection: Connection) {
    this.requests = new RequestReader(connection);
  }

  /** Drops the incomplete header block; false if there is none. The connection can't go on then. */
  dropBlock(): boolean {
    return this.requests.dropBlock();
  }

  /** When an incomplete header block began; undefined if there is none. */
  get blockSinceMs(): number | undefined {
    return this.requests.block?.sinceMs;
  }

  /** Handles a frame, whose payload is `bytes` from `start` to `end`. Throws connection errors; stream errors reset their stream. */
  handle(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    try {
      this.dispatch(type, flags, streamId, bytes, start, end);
    } catch (error) {
      if (!(error instanceof Http2Error) || error.streamId === undefined) throw error;
      this.resetStream(error.streamId, error.code);
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
    if (!this.hasSettings && type !== FrameType.settings)
      throw protocolError("The first frame is not SETTINGS.");
    const { block } = this.requests;
    if (block !== undefined && (type !== FrameType.continuation || streamId !== block.streamId)) {
      throw protocolError("A header block was interrupted by another frame.");
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
        if (streamId !== 0) throw protocolError("GOAWAY on a stream.");
        if (end - start < 8) throw frameSizeError("GOAWAY");
        this.connection.floods.countEmptyFrame();
        break;
      case FrameType.windowUpdate:
        this.windowUpdate(streamId, bytes, start, end);
        break;
      case FrameType.continuation:
        this.requests.continuation(flags, bytes.subarray(start, end));
        break;
      case FrameType.pushPromise:
        throw protocolError("A client cannot send PUSH_PROMISE.");
      default:
        // Section 5.5: unknown frame types are ignored.
        this.connection.floods.countEmptyFrame();
        break;
    }
  }

  private data(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    const stream = this.streamOf(streamId, "DATA");
    connection.countReceived(end - start);
    const [from, to] = withoutPadding(flags, bytes, start, end);
    const isEnd = (flags & Flag.endStream) !== 0;
    if (to === from && !isEnd) connection.floods.countEmptyFrame();
    if (stream !== undefined) {
      stream.receiveData(bytes.subarray(from, to), end - start, isEnd);
      return;
    }
    connection.consume(end - start);
    if (connection.recentlyReset.ignores(streamId, isEnd)) return;
    // Not counted as a reset: frames in flight for many refused streams are no abuse.
    connection.floods.countEmptyFrame();
    connection.sendReset(streamId, ErrorCode.streamClosed);
  }

  private priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw protocolError("PRIORITY on stream 0.");
    // RST_STREAM must not be sent for an idle stream (RFC 9113 section 6.4): end the connection instead.
    const errorStreamId = this.connection.isIdle(streamId) ? undefined : streamId;
    if (end - start !== 5) throw frameSizeError("PRIORITY", errorStreamId);
    if ((bytes.readUInt32BE(start) & INT31_MAX) === streamId)
      throw protocolError("A stream depends on itself.", errorStreamId);
    this.connection.floods.countEmptyFrame();
  }

  private rstStream(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeError("RST_STREAM");
    const stream = this.streamOf(streamId, "RST_STREAM");
    if (stream === undefined) {
      this.connection.recentlyReset.ignores(streamId, true);
      this.connection.floods.countEmptyFrame();
      return;
    }
    const { floods, counters } = this.connection;
    counters.clientResets++;
    // A client may end its watches, and need not read a response to its end.
    const isAnswered = stream.hasResponded;
    stream.abort(bytes.readUInt32BE(start));
    if (isAnswered) floods.countEmptyFrame();
    else floods.countReset();
  }

  private settings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("SETTINGS on a stream.");
    if ((flags & Flag.ack) !== 0) {
      if (end !== start) throw frameSizeError("SETTINGS");
      if (!this.hasSettings) throw protocolError("The first frame is not SETTINGS.");
      this.connection.floods.countEmptyFrame();
      return;
    }
    this.hasSettings = true;
    const { floods, writer, streams } = this.connection;
    floods.countEmptyFrame();
    const { initialWindow, hasSmallTable } = readSettings(bytes, start, end);
    if (hasSmallTable === true) writer.emptyTable();
    if (initialWindow !== undefined) {
      floods.countWindowChange();
      if (!writer.useInitialWindow(initialWindow, streams.values()))
        throw new Http2Error(ErrorCode.flowControlError, "A stream window exceeds 2^31-1 bytes.");
    }
    writer.numbers(FrameType.settings, Flag.ack, 0);
  }

  private ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("PING on a stream.");
    if (end - start !== 8) throw frameSizeError("PING");
    if ((flags & Flag.ack) !== 0) {
      this.connection.floods.countEmptyFrame();
      this.connection.onPong?.(bytes.readUInt32BE(start + 4));
      return;
    }
    const { writer } = this.connection;
    writer.numbers(FrameType.ping, Flag.ack, 0, bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4));
  }

  private windowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeError("WINDOW_UPDATE");
    const increment = bytes.readUInt32BE(start) & INT31_MAX;
    const { writer } = this.connection;
    if (streamId === 0) {
      if (increment === 0) throw protocolError("WINDOW_UPDATE of 0.");
      if (!writer.widen(increment)) {
        throw new Http2Error(ErrorCode.flowControlError, "The connection window exceeds 2^31-1 bytes.");
      }
      return;
    }
    const stream = this.streamOf(streamId, "WINDOW_UPDATE");
    if (stream === undefined) return;
    if (increment === 0) throw protocolError("WINDOW_UPDATE of 0.", streamId);
    if (!writer.widen(increment, stream)) {
      throw new Http2Error(ErrorCode.flowControlError, "The stream window exceeds 2^31-1 bytes.", streamId);
    }
  }

  /** The stream of a frame; undefined if it is closed. */
  private streamOf(streamId: number, what: string): RequestStream | undefined {
    if (streamId === 0) throw protocolError(`${what} on stream 0.`);
    const stream = this.connection.streams.get(streamId);
    if (stream === undefined && this.connection.isIdle(streamId))
      throw protocolError(`${what} on an idle stream.`);
    return stream;
  }

  private resetStream(streamId: number, code: number): void {
    const stream = this.connection.streams.get(streamId);
    if (stream === undefined) this.connection.sendReset(streamId, code);
    else stream.reset(code);
    this.connection.floods.countReset();
  }
}
