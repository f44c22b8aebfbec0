/** Reads header blocks, and makes streams or trailers of them: https://www.rfc-editor.org/rfc/rfc9113 sections 6.2, 6.10 and 8.1. */
import type { IncomingHttpHeaders } from "node:http";
import { ErrorCode, Flag, INT31_MAX } from "./codes.js";
import type { Connection } from "./connection.js";
import { FieldDecoder } from "./field-decoder.js";
import { HeaderBlock } from "./header-block.js";
import { withoutPadding } from "./padding.js";
import { contentLengthOf, requestHeaders, requestTrailers } from "./request-fields.js";
import type { RequestStream } from "./stream.js";
import { Http2Violation, violation, wrongLength, wrongSize } from "./violations.js";

/** The most fields of a request; Node has the same limit. */
const FIELDS_MAX = 128;
/** A compressed block is shorter than what it says, or hardly longer. */
const BLOCK_SURPLUS_BYTES = 16_384;

export class RequestReader {
  /** A header block whose end has not come. */
  block: HeaderBlock | undefined;
  private lastFields: readonly string[] | undefined;
  private lastHeaders: IncomingHttpHeaders = {};
  private readonly decoder: FieldDecoder;

  constructor(private readonly connection: Connection) {
    this.decoder = new FieldDecoder({ bytesMax: connection.limits.headerBytesMax, fieldsMax: FIELDS_MAX });
  }

  /** Takes HEADERS. */
  headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
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
      this.block.dependsOnItself = dependsOnItself;
      return;
    }
    this.fields(flags, streamId, bytes, from, to);
    // Only now: the table must stay the same as the client's.
    if (dependsOnItself) throw violation("A stream depends on itself.", streamId);
  }

  /** Takes CONTINUATION. */
  continuation(flags: number, piece: Buffer): void {
    const { block } = this;
    if (block === undefined) throw violation("CONTINUATION of nothing.");
    const whole = block.add(piece, flags);
    if (whole === undefined) return;
    this.block = undefined;
    this.fields(block.flags, block.streamId, whole, 0, whole.length);
    if (block.dependsOnItself) throw violation("A stream depends on itself.", block.streamId);
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
    if (connection.isLeaving) {
      // The last GOAWAY said that this one comes too late.
      connection.refuse(streamId, ErrorCode.refusedStream);
      return;
    }
    if (connection.streams.size >= connection.limits.streamsPerConnectionMax) {
      throw new Http2Violation(ErrorCode.refusedStream, "There are too many streams.", streamId);
    }
    if (connection.queuedBytes > connection.limits.untakenBytesMax) {
      throw new Http2Violation(ErrorCode.refusedStream, "Too much waits to be taken.", streamId);
    }
    if (fields === undefined) throw tooLarge(streamId);
    const headers = this.headersOf(fields, streamId);
    const length = contentLengthOf(headers, streamId);
    if (isEnd && length !== undefined && length > 0) throw wrongLength(streamId);
    connection.open(streamId, headers, fields, isEnd, length);
  }

  /** As one client's requests are much alike, the last ones are not looked at again when they come again. */
  private headersOf(fields: readonly string[], streamId: number): IncomingHttpHeaders {
    if (fields !== this.lastFields) {
      this.lastHeaders = requestHeaders(fields, streamId);
      this.lastFields = fields;
    }
    // A copy, as whoever has the request may add to them.
    return Object.assign(Object.create(null) as IncomingHttpHeaders, this.lastHeaders);
  }

  private trailers(stream: RequestStream, fields: readonly string[] | undefined, isEnd: boolean): void {
    const { id } = stream;
    if (stream.isReceived) throw new Http2Violation(ErrorCode.streamClosed, "HEADERS behind the end.", id);
    if (!isEnd) throw violation("Trailers that are not the end.", id);
    if (fields === undefined) throw tooLarge(id);
    if (stream.contentLeft !== undefined && stream.contentLeft > 0) throw wrongLength(id);
    const trailers = requestTrailers(fields, id);
    stream.isReceived = true;
    this.connection.finished(stream);
    stream.listener?.received(trailers);
  }
}

function tooLarge(streamId: number): Http2Violation {
  return new Http2Violation(ErrorCode.enhanceYourCalm, "The header fields are too large.", streamId);
}
