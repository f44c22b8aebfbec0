/** Turns header blocks into requests and trailers: RFC 9113 sections 6.2, 6.10 and 8.1. */
import type { IncomingHttpHeaders } from "node:http";
import { ErrorCode, Flag, INT31_MAX } from "./codes.js";
import type { Connection } from "./connection.js";
import { contentLengthError, frameSizeError, Http2Error, protocolError } from "./errors.js";
import { FieldDecoder, REMEMBERED_BYTES_MAX } from "./field-decoder.js";
import { HeaderBlock } from "./header-block.js";
import { withoutPadding } from "./padding.js";
import { contentLengthOf, noFields, requestHeaders, requestTrailers } from "./request-fields.js";
import { STREAM_WINDOW_BYTES } from "./settings.js";
import type { RequestStream } from "./stream.js";

/** The most fields in one block. Node has the same limit. */
const FIELDS_MAX = 128;
/** A compressed block is at most this much longer than its fields. */
const BLOCK_SURPLUS_BYTES = 16_384;
/**
 * A larger header list is refused if there is no room for it, instead of displacing what was accepted before: V8 collects the strings of displaced
 * ones late, and they would take several times the budget.
 */
const SHORT_BYTES_MAX = 8_192;

export class RequestReader {
  /** The incomplete header block, if any. */
  block: HeaderBlock | undefined;
  private lastFields: readonly string[] | undefined;
  private lastHeaders: IncomingHttpHeaders = {};
  private lastHeadBytes = 0;
  private readonly decoder: FieldDecoder;

  constructor(private readonly connection: Connection) {
    this.decoder = new FieldDecoder({ bytesMax: connection.limits.headerBytesMax, fieldsMax: FIELDS_MAX });
  }

  /** Handles HEADERS. */
  headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId % 2 === 0) throw protocolError(`HEADERS on stream ${streamId}.`);
    const [contentStart, to] = withoutPadding(flags, bytes, start, end);
    let from = contentStart;
    let dependsOnItself = false;
    if ((flags & Flag.priority) !== 0) {
      if (to - from < 5) throw frameSizeError("HEADERS");
      dependsOnItself = (bytes.readUInt32BE(from) & INT31_MAX) === streamId;
      from += 5;
    }
    if ((flags & Flag.endHeaders) === 0) {
      const { headerBytesMax } = this.connection.limits;
      const bytesMax = headerBytesMax + BLOCK_SURPLUS_BYTES;
      const block = new HeaderBlock(streamId, flags, bytesMax, performance.now(), dependsOnItself);
      this.block = block;
      this.add(block, bytes.subarray(from, to), flags);
      return;
    }
    this.fields(flags, streamId, bytes, from, to);
    // Only after decoding: the dynamic table must stay in step with the client's.
    if (dependsOnItself) throw protocolError("The stream depends on itself.", streamId);
  }

  /** Handles CONTINUATION. */
  continuation(flags: number, piece: Buffer): void {
    const { block } = this;
    if (block === undefined) throw protocolError("CONTINUATION without a header block.");
    const whole = this.add(block, piece, flags);
    // Too many held bytes drop the block.
    if (whole === undefined || !this.dropBlock()) return;
    this.fields(block.flags, block.streamId, whole, 0, whole.length);
    if (block.dependsOnItself) throw protocolError("The stream depends on itself.", block.streamId);
  }

  /** See `FrameHandler`. */
  dropBlock(): boolean {
    const { block } = this;
    if (block === undefined) return false;
    this.block = undefined;
    this.connection.countIncomplete(-block.bytes);
    return true;
  }

  /** Adds a piece to an incomplete block. Returns the whole block with the last one. */
  private add(block: HeaderBlock, piece: Buffer, flags: number): Buffer | undefined {
    const whole = block.add(piece, flags);
    if (!this.connection.countIncomplete(piece.length))
      throw new Http2Error(ErrorCode.enhanceYourCalm, "Too many bytes of incomplete requests.");
    return whole;
  }

  /** A header block is complete. */
  private fields(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    const room = Math.max(SHORT_BYTES_MAX, connection.incompleteRoom);
    const fields = this.decoder.decode(bytes, start, end, room);
    const isEnd = (flags & Flag.endStream) !== 0;
    const stream = connection.streams.get(streamId);
    if (stream !== undefined) {
      this.trailers(stream, fields, isEnd);
      return;
    }
    if (streamId <= connection.lastStreamId) {
      if (connection.recentlyReset.ignores(streamId, isEnd)) {
        // Trailers in flight have END_STREAM.
        if (!isEnd) connection.floods.countEmptyFrame();
        return;
      }
      throw new Http2Error(ErrorCode.streamClosed, "HEADERS on a closed stream.");
    }
    connection.lastStreamId = streamId;
    if (connection.isDraining) {
      // The last GOAWAY named a lower stream.
      throw new Http2Error(ErrorCode.refusedStream, "The connection is closing.", streamId);
    }
    if (connection.streams.size >= connection.limits.streamsPerConnectionMax) {
      throw new Http2Error(ErrorCode.refusedStream, "Too many concurrent streams.", streamId);
    }
    // The other half is for responses to the open streams.
    if (connection.unsentResponseBytes > connection.limits.unsentResponseBytesMax / 2) {
      throw new Http2Error(ErrorCode.refusedStream, "Too many unsent response bytes.", streamId);
    }
    if (fields === undefined) throw this.tooLarge(streamId);
    const headers = this.headersOf(fields, streamId);
    const contentLength = contentLengthOf(headers, streamId);
    if (isEnd && contentLength !== undefined && contentLength > 0) throw contentLengthError(streamId);
    connection.open({
      id: streamId,
      headers,
      rawHeaders: fields,
      headBytes: this.lastHeadBytes,
      isRequestComplete: isEnd,
      contentLength,
      receiveWindowBytes: STREAM_WINDOW_BYTES,
      sendWindowBytes: connection.writer.initialWindow,
    });
  }

  /** Parses the fields once for consecutive requests with equal blocks, which are common on one connection. */
  private headersOf(fields: readonly string[], streamId: number): IncomingHttpHeaders {
    if (fields === this.lastFields) return Object.assign(noFields(), this.lastHeaders);
    const headers = requestHeaders(fields, streamId);
    const isKept = this.decoder.fieldBytes <= REMEMBERED_BYTES_MAX;
    this.lastFields = isKept ? fields : undefined;
    // A copy: handlers may add to it.
    this.lastHeaders = isKept ? Object.assign(noFields(), headers) : {};
    this.lastHeadBytes = sizeOf(fields);
    return headers;
  }

  /** The last header list has too many fields or bytes, or there is no room for it. */
  private tooLarge(streamId: number): Http2Error {
    const { limits, incompleteRoom } = this.connection;
    const { fieldBytes } = this.decoder;
    return fieldBytes > Math.max(SHORT_BYTES_MAX, incompleteRoom) && fieldBytes <= limits.headerBytesMax
      ? new Http2Error(ErrorCode.refusedStream, "Too many bytes of incomplete requests.", streamId)
      : new Http2Error(ErrorCode.enhanceYourCalm, "The header list is too large.", streamId);
  }

  private trailers(stream: RequestStream, fields: readonly string[] | undefined, isEnd: boolean): void {
    const { id } = stream;
    if (stream.isRequestComplete)
      throw new Http2Error(ErrorCode.streamClosed, "HEADERS after END_STREAM.", id);
    if (!isEnd) throw protocolError("Trailers without END_STREAM.", id);
    if (fields === undefined) throw this.tooLarge(id);
    stream.receiveTrailers(requestTrailers(fields, id));
  }
}

/** What a field takes in V8's heap beside its name and value, as measured with 20 fields of 5 bytes each. */
const FIELD_OVERHEAD_BYTES = 160;
/** What a request takes beside its fields, with what the service holds for it, as measured with 48,000 requests whose bodies do not come. */
const REQUEST_OVERHEAD_BYTES = 4_096;

function sizeOf(fields: readonly string[]): number {
  const overhead = REQUEST_OVERHEAD_BYTES + (fields.length / 2) * FIELD_OVERHEAD_BYTES;
  return fields.reduce((bytes, text) => bytes + text.length, overhead);
}
