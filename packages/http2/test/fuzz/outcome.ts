/** What a server sent on one connection, and whether HTTP/2 allows it. */
import { FieldDecoder } from "../../src/field-decoder.js";
import { END_HEADERS, END_STREAM, Frame } from "../raw-session.js";

const FRAME_BYTES_MAX = 16_384;

export interface Response {
  readonly fields: string[];
  body: number;
  trailers: string[] | undefined;
  isEnded: boolean;
  resetCode: number | undefined;
}

/** Reads the frames of a server. Throws an Error for one that no server may send. */
export class Outcome {
  readonly responses = new Map<number, Response>();
  goAwayCode: number | undefined;
  isClosed = false;
  /** The payloads of the pings that were answered. */
  readonly pongs = new Set<string>();
  private rest: Buffer = Buffer.alloc(0);
  private isFirst = true;
  private lastGoAwayId = Infinity;
  private block: { readonly streamId: number; readonly flags: number; readonly pieces: Buffer[] } | undefined;
  private readonly decoder = new FieldDecoder({ bytesMax: 1_000_000, fieldsMax: 1_000 });

  /** `openedMax` is the highest stream id that the client may have opened. */
  constructor(private readonly openedMax: number) {}

  push(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    while (this.rest.length >= 9) {
      const length = this.rest.readUIntBE(0, 3);
      if (length > FRAME_BYTES_MAX) throw new Error(`a frame of ${length} bytes`);
      if (this.rest.length < 9 + length) return;
      const payload = this.rest.subarray(9, 9 + length);
      this.frame(this.rest.readUInt8(3), this.rest.readUInt8(4), this.rest.readUInt32BE(5), payload);
      this.rest = this.rest.subarray(9 + length);
    }
  }

  private frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (this.isFirst && type !== Frame.SETTINGS) throw new Error("the first frame is not SETTINGS");
    this.isFirst = false;
    if (this.block !== undefined && (type !== Frame.CONTINUATION || streamId !== this.block.streamId))
      throw new Error("a frame within a header block");
    if (streamId > this.openedMax || (streamId !== 0 && streamId % 2 === 0))
      throw new Error(`frame type ${type} on the idle stream ${streamId}`);
    const isOfConnection = [Frame.SETTINGS, Frame.PING, Frame.GOAWAY].some((one) => one === type);
    if (isOfConnection !== (streamId === 0) && type !== Frame.WINDOW_UPDATE)
      throw new Error(`frame type ${type} on stream ${streamId}`);
    if (type === Frame.DATA) this.data(flags, streamId, payload);
    else if (type === Frame.HEADERS || type === Frame.CONTINUATION) this.headers(flags, streamId, payload);
    else if (type === Frame.RST_STREAM) this.reset(streamId, payload.readUInt32BE(0));
    else if (type === Frame.PING && flags === 1) this.pongs.add(payload.toString("hex"));
    else if (type === Frame.WINDOW_UPDATE && payload.readUInt32BE(0) === 0)
      throw new Error("a WINDOW_UPDATE of 0");
    else if (type === Frame.GOAWAY) {
      const lastId = payload.readUInt32BE(0);
      if (lastId > this.lastGoAwayId) throw new Error(`GOAWAY names ${lastId} after ${this.lastGoAwayId}`);
      this.lastGoAwayId = lastId;
      this.goAwayCode = payload.readUInt32BE(4);
    }
  }

  private data(flags: number, streamId: number, payload: Buffer): void {
    const response = this.responses.get(streamId);
    if (response === undefined) throw new Error(`DATA before HEADERS on stream ${streamId}`);
    this.checkOpen(response, streamId);
    response.body += payload.length;
    if ((flags & END_STREAM) !== 0) response.isEnded = true;
  }

  private headers(flags: number, streamId: number, payload: Buffer): void {
    this.block ??= { streamId, flags, pieces: [] };
    this.block.pieces.push(payload);
    if ((flags & END_HEADERS) === 0) return;
    const { flags: first, pieces } = this.block;
    this.block = undefined;
    const bytes = Buffer.concat(pieces);
    const fields = [...(this.decoder.decode(bytes, 0, bytes.length) ?? [])];
    const response = this.responses.get(streamId);
    if (response === undefined) {
      this.responses.set(streamId, {
        fields,
        body: 0,
        trailers: undefined,
        isEnded: (first & END_STREAM) !== 0,
        resetCode: undefined,
      });
      return;
    }
    this.checkOpen(response, streamId);
    if ((first & END_STREAM) === 0) throw new Error(`trailers without END_STREAM on stream ${streamId}`);
    response.trailers = fields;
    response.isEnded = true;
  }

  private checkOpen(response: Response, streamId: number): void {
    if (response.isEnded) throw new Error(`a frame after END_STREAM on stream ${streamId}`);
    if (response.resetCode !== undefined) throw new Error(`a frame after RST_STREAM on stream ${streamId}`);
  }

  private reset(streamId: number, code: number): void {
    const response = this.responses.get(streamId);
    if (response === undefined)
      this.responses.set(streamId, {
        fields: [],
        body: 0,
        trailers: undefined,
        isEnded: false,
        resetCode: code,
      });
    else response.resetCode = code;
  }
}
