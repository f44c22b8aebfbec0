/** The request body of one stream: how much is expected, how much is not consumed, and how much is held until the response. */
import { ErrorCode } from "./codes.js";
import { contentLengthError, Http2Error } from "./errors.js";
import { ReceiveFlow } from "./receive-flow.js";
import type { StreamConnection } from "./stream-events.js";

export class RequestBody {
  /** Bytes that are held until the response. */
  heldBytes = 0;
  private readonly flow: ReceiveFlow;

  constructor(
    private readonly streamId: number,
    private readonly connection: StreamConnection,
    windowBytes: number,
    /** Bytes that the content-length still announces; undefined if there is none. */
    private contentLeft: number | undefined,
    public isComplete: boolean,
  ) {
    this.flow = new ReceiveFlow(windowBytes);
  }

  get unconsumedBytes(): number {
    return this.flow.unconsumedBytes;
  }

  /** Counts a DATA frame of `frameBytes` bytes, padding included. Throws a stream error. */
  receive(contentBytes: number, frameBytes: number, isEnd: boolean): void {
    const { streamId } = this;
    if (!this.flow.receive(frameBytes))
      throw new Http2Error(ErrorCode.flowControlError, "The stream's window was exceeded.", streamId);
    if (this.isComplete) throw new Http2Error(ErrorCode.streamClosed, "DATA after END_STREAM.", streamId);
    if (this.contentLeft !== undefined) this.contentLeft -= contentBytes;
    if ((this.contentLeft ?? 0) < 0) throw contentLengthError(streamId);
    if (isEnd) this.complete();
  }

  /** The request ends. Throws a stream error if the body is shorter than its content-length. */
  complete(): void {
    if ((this.contentLeft ?? 0) > 0) throw contentLengthError(this.streamId);
    this.isComplete = true;
  }

  /** Nothing but what is not consumed is held any longer. */
  release(): void {
    const released = this.heldBytes - Math.min(this.heldBytes, this.unconsumedBytes);
    this.heldBytes -= released;
    this.connection.countIncomplete(-released);
  }

  /** Counts bytes that are held from now on. Nothing was done for the request yet: the client may retry it. */
  hold(bytes: number): void {
    this.heldBytes += bytes;
    if (!this.connection.countIncomplete(bytes))
      throw new Http2Error(ErrorCode.refusedStream, "Too many bytes of incomplete requests.", this.streamId);
  }

  /** Counts consumed bytes. Returns the increment for a WINDOW_UPDATE of the stream, or 0. */
  consume(bytes: number): number {
    const increment = this.flow.consume(bytes);
    return this.isComplete ? 0 : increment;
  }
}
