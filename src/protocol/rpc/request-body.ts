/** Reads the one message of a request's body. Rejects malformed bodies with the stock adapter's errors. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { MessageLimit } from "../message-limit.js";
import type { Message, MethodCodec } from "./codec.js";
import { COMPRESSED_FLAG, ENVELOPE_HEAD_BYTES } from "./envelope.js";
import { Pieces } from "../pieces.js";
import type { WireForm } from "./protocol.js";

/** Receives a body in chunks. Both methods throw ConnectError as soon as the body is known to be invalid. */
export interface RequestBody {
  push(chunk: Buffer): void;
  end(): Message;
}

/** A body that is the message itself: Connect unary. */
export class PlainBody implements RequestBody {
  private readonly pieces = new Pieces();

  constructor(
    private readonly codec: MethodCodec,
    private readonly form: WireForm,
    private readonly limit: MessageLimit,
  ) {}

  push(chunk: Buffer): void {
    this.pieces.add(chunk);
    if (this.pieces.bytes > this.limit.bytesMax) throw this.limit.tooLarge();
  }

  end(): Message {
    return this.codec.decode(this.form.isBinary, this.pieces.takeAll());
  }
}

/** A body of length-prefixed messages, of which a request has exactly one: gRPC, gRPC-Web and Connect streams. */
export class EnvelopedBody implements RequestBody {
  private pieces: Pieces | undefined;
  private message: Message | undefined;
  /** The envelope head of the next message; undefined until it has arrived. */
  private head: { flags: number; length: number } | undefined;

  constructor(
    private readonly codec: MethodCodec,
    private readonly form: WireForm,
    private readonly limit: MessageLimit,
    private readonly methodKind: "unary" | "server-streaming",
  ) {}

  push(chunk: Buffer): void {
    if (this.pieces === undefined) {
      // Fast path: most bodies are one envelope in one chunk.
      if (
        chunk.length >= ENVELOPE_HEAD_BYTES &&
        chunk.length === chunk.readUInt32BE(1) + ENVELOPE_HEAD_BYTES
      ) {
        this.checkLength(chunk.length - ENVELOPE_HEAD_BYTES);
        this.accept(chunk.readUInt8(0), chunk.subarray(ENVELOPE_HEAD_BYTES));
        return;
      }
      this.pieces = new Pieces();
    }
    this.pieces.add(chunk);
    this.split(this.pieces);
  }

  end(): Message {
    if (this.pieces !== undefined && this.pieces.bytes > 0) {
      throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
    }
    if (this.message === undefined) {
      throw new ConnectError(
        `protocol error: missing input message for ${this.methodKind} method`,
        Code.Unimplemented,
      );
    }
    return this.message;
  }

  /** Accepts every complete envelope. */
  private split(pieces: Pieces): void {
    while (pieces.bytes >= (this.head?.length ?? ENVELOPE_HEAD_BYTES)) {
      const all = pieces.takeAll();
      let rest: Buffer;
      if (this.head === undefined) {
        const length = all.readUInt32BE(1);
        this.checkLength(length);
        this.head = { flags: all.readUInt8(0), length };
        rest = all.subarray(ENVELOPE_HEAD_BYTES);
      } else {
        const { flags, length } = this.head;
        this.head = undefined;
        this.accept(flags, all.subarray(0, length));
        rest = all.subarray(length);
      }
      if (rest.length > 0) pieces.add(rest);
    }
  }

  private checkLength(length: number): void {
    if (length > this.limit.bytesMax) throw this.limit.tooLarge();
  }

  private accept(flags: number, data: Uint8Array): void {
    if ((flags & COMPRESSED_FLAG) !== 0) {
      throw new ConnectError(
        "received compressed envelope, but do not know how to decompress",
        Code.Internal,
      );
    }
    if ((flags & this.form.endFlag) !== 0) return;
    const message = this.codec.decode(this.form.isBinary, data);
    if (this.message !== undefined) {
      throw new ConnectError(
        `protocol error: received extra input message for ${this.methodKind} method`,
        Code.Unimplemented,
      );
    }
    this.message = message;
  }
}
