/** One HTTP/2 connection: its streams, its flow control and how it ends. `frame-handler.ts` handles what arrives, `frame-writer.ts` sends. */
import type { Duplex } from "node:stream";
import type { ByteAccount, ByteBudget } from "./byte-budget.js";
import { ErrorCode, FrameType, INT31_MAX, WINDOW_BYTES } from "./codes.js";
import { Http2Error } from "./errors.js";
import { FloodGuard } from "./flood-guard.js";
import { FrameHandler } from "./frame-handler.js";
import { FrameReader } from "./frame-reader.js";
import { FrameWriter } from "./frame-writer.js";
import type { Http2Counters } from "./http2-counters.js";
import type { Http2Limits } from "./limits.js";
import { ReceiveFlow } from "./receive-flow.js";
import { RecentlyReset } from "./recently-reset.js";
import { CONNECTION_WINDOW_BYTES, ownSettings } from "./settings.js";
import { RequestStream } from "./stream.js";
import type { StreamConnection, StreamOptions } from "./stream-events.js";

/** What all connections of a server share. */
export interface SharedByConnections {
  readonly incompleteRequests: ByteBudget;
  readonly unsentResponses: ByteBudget;
  readonly counters: Http2Counters;
}

export interface ConnectionHandlers {
  /** Receives each request. */
  onStream(stream: RequestStream): void;
  onClosed(): void;
  /** Receives exceptions that handlers and listeners throw: bugs. */
  onFault(error: unknown): void;
}

/** Unsent control frames, such as answers to PING and SETTINGS. More of them end the connection. */
const UNSENT_CONTROL_BYTES_MAX = 1_048_576;
/** Frames for at least this many streams that we reset are ignored. */
const RECENTLY_RESET_MIN = 128;
/** Time for the client to read why its connection closes. */
const LINGER_MS = 1_000;
/** Time for responses in flight when a connection is ended because of its client's behavior. */
const FINISH_MS = 10_000;

export class Connection implements StreamConnection {
  readonly streams = new Map<number, RequestStream>();
  readonly writer: FrameWriter;
  readonly handler: FrameHandler;
  readonly floods: FloodGuard;
  readonly recentlyReset: RecentlyReset;
  /** The highest stream id that the client has opened. */
  lastStreamId = 0;
  /** Since when no stream is open. */
  idleSinceMs = performance.now();
  /** When bytes last arrived. */
  receivedMs = performance.now();
  isClosed = false;
  /** Called with the number of each ping that is answered. */
  onPong: ((ping: number) => void) | undefined;
  private isFailed = false;
  private lastPing = 0;
  /** The last stream id that a GOAWAY named as processed. Later ones must not name a higher one (RFC 9113 section 6.8). */
  private lastProcessedId: number | undefined;
  private readonly incomplete: ByteAccount;
  private readonly unsent: ByteAccount;
  private unsentBytesOfSocket = 0;
  private readonly flow = new ReceiveFlow(CONNECTION_WINDOW_BYTES);
  private readonly reader: FrameReader;

  constructor(
    readonly socket: Duplex,
    readonly limits: Http2Limits,
    private readonly shared: SharedByConnections,
    private readonly handlers: ConnectionHandlers,
  ) {
    this.incomplete = shared.incompleteRequests.open(() => this.refuseLargestRequest());
    this.unsent = shared.unsentResponses.open(() => this.resetLargestResponse());
    this.floods = new FloodGuard(limits);
    this.recentlyReset = new RecentlyReset(Math.max(RECENTLY_RESET_MIN, limits.streamsPerConnectionMax));
    this.writer = new FrameWriter(
      socket,
      (run) => this.guarded(run),
      () => this.countSocket(),
    );
    this.handler = new FrameHandler(this);
    this.reader = new FrameReader((...frame) => {
      this.handler.handle(...frame);
      return !this.isFailed;
    });
    socket.once("close", () => this.closed());
    const settings = ownSettings(limits);
    this.writer.output.head(FrameType.settings, 0, 0, settings.length);
    this.writer.output.add(settings);
    this.writer.numbers(FrameType.windowUpdate, 0, 0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.resume();
  }

  /** Whether no more streams are accepted: the last GOAWAY said so. */
  get isDraining(): boolean {
    return this.lastProcessedId !== undefined;
  }

  get counters(): Http2Counters {
    return this.shared.counters;
  }

  /** Unsent bytes of all responses. */
  get unsentResponseBytes(): number {
    return this.unsent.bytes;
  }

  /** How many more bytes of incomplete requests may be held. */
  get incompleteRoom(): number {
    const { incompleteRequests } = this.shared;
    const ofAll = incompleteRequests.bytesMax - incompleteRequests.bytes;
    return Math.min(ofAll, this.limits.incompleteRequestBytesMax - this.incomplete.bytes);
  }

  /** Opens a stream and hands it to the server. */
  open(options: StreamOptions): void {
    const stream = new RequestStream(this, options);
    this.streams.set(options.id, stream);
    stream.holdHead(options.headBytes);
    // Too many held bytes reset streams.
    if (!stream.isClosed) this.handlers.onStream(stream);
  }

  /** Counts the bytes of a DATA frame. Throws a connection error if the client exceeded the window. */
  countReceived(bytes: number): void {
    if (!this.flow.receive(bytes))
      throw new Http2Error(ErrorCode.flowControlError, "The connection's window was exceeded.");
  }

  consume(bytes: number): void {
    const increment = this.flow.consume(bytes);
    if (increment > 0) this.writer.numbers(FrameType.windowUpdate, 0, 0, increment);
  }

  countIncomplete(bytes: number): boolean {
    this.incomplete.add(bytes);
    const isWithinLimit = this.incomplete.bytes <= this.limits.incompleteRequestBytesMax;
    return isWithinLimit && !this.shared.incompleteRequests.isExceeded;
  }

  countUnsent(bytes: number): void {
    const { unsent, limits } = this;
    unsent.add(bytes);
    if (bytes > 0 && unsent.bytes > limits.unsentResponseBytesMax) this.resetLargestResponse();
  }

  sendReset(streamId: number, code: number): void {
    this.writer.numbers(FrameType.rstStream, 0, streamId, code);
    this.shared.counters.countReset(code);
    this.recentlyReset.add(streamId);
  }

  /** Whether a stream was never opened (RFC 9113 section 5.1). Even ids are for pushes, which do not exist here. */
  isIdle(streamId: number): boolean {
    return streamId > this.lastStreamId || streamId % 2 === 0;
  }

  remove(stream: RequestStream): void {
    if (!this.streams.delete(stream.id)) return;
    this.writer.forget(stream);
    if (stream.unconsumedBytes > 0) this.consume(stream.unconsumedBytes);
    this.incomplete.add(-stream.heldBytes);
    this.unsent.add(-stream.queue.bytes);
    if (this.streams.size === 0) this.idleSinceMs = performance.now();
  }

  closeIfDrained(): void {
    if (this.streams.size > 0) return;
    if (this.isDraining || this.isFailed) this.end();
    if (this.isFailed) this.destroySoon();
  }

  /** Sends a ping and returns its number; `onPong` is called with it. */
  ping(): number {
    this.lastPing++;
    this.writer.numbers(FrameType.ping, 0, 0, 0, this.lastPing);
    return this.lastPing;
  }

  /** Sends GOAWAY. Streams above `lastStreamId` are not processed; the default refuses none and only announces the shutdown. */
  goAway(lastStreamId: number = INT31_MAX, code: number = ErrorCode.noError): void {
    this.writer.numbers(FrameType.goAway, 0, 0, lastStreamId, code);
    // An announcement ends nothing.
    if (lastStreamId !== INT31_MAX) this.shared.counters.countGoAway(code);
  }

  /** Accepts no more streams and closes once the open ones are closed. */
  drain(): void {
    if (this.isDraining || this.isFailed) return;
    this.lastProcessedId = this.lastStreamId;
    this.goAway(this.lastProcessedId);
    // Bodies that follow their response are not waited for.
    for (const stream of [...this.streams.values()]) if (stream.isClosed) stream.reset(ErrorCode.noError);
    this.closeIfDrained();
  }

  destroy(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    if (this.isFailed) return;
    this.receivedMs = performance.now();
    this.guarded(() => {
      this.reader.push(chunk);
      if (this.writer.waitingBytes > UNSENT_CONTROL_BYTES_MAX)
        throw new Http2Error(ErrorCode.enhanceYourCalm, "The client does not read its control frames.");
    });
  }

  /** Keeps a fault within its connection: an exception here would end the process. */
  guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (error instanceof Http2Error) {
        this.fail(error.code);
      } else {
        this.handlers.onFault(error);
        this.destroy();
      }
    }
  }

  private closed(): void {
    this.isClosed = true;
    for (const stream of [...this.streams.values()]) stream.close();
    this.incomplete.close();
    this.unsent.close();
    this.handlers.onClosed();
  }

  /** Counts what the socket has not sent yet. */
  private countSocket(): void {
    const { writableLength, writableNeedDrain, destroyed } = this.socket;
    // `drain` follows only if it is needed.
    const bytes = writableNeedDrain && !destroyed ? writableLength : 0;
    if (bytes === this.unsentBytesOfSocket) return;
    const change = bytes - this.unsentBytesOfSocket;
    this.unsentBytesOfSocket = bytes;
    this.unsent.add(change);
  }

  /** Too many requests wait for their rest or their response: refuses the largest that is incomplete. Nothing was done for it yet. */
  private refuseLargestRequest(): void {
    let largest: RequestStream | undefined;
    for (const stream of this.streams.values())
      if (!stream.isRequestComplete && stream.heldBytes > (largest?.heldBytes ?? 0)) largest = stream;
    if (largest !== undefined) largest.reset(ErrorCode.refusedStream);
    else if (this.handler.dropBlock()) this.fail(ErrorCode.enhanceYourCalm);
  }

  /** The client does not read its responses: resets the largest, or closes the connection if they are in the socket already. */
  private resetLargestResponse(): void {
    let largest: RequestStream | undefined;
    for (const stream of this.streams.values())
      if (stream.queue.bytes > (largest?.queue.bytes ?? 0)) largest = stream;
    if (largest !== undefined) {
      largest.reset(ErrorCode.enhanceYourCalm);
      return;
    }
    this.destroy();
    this.countSocket();
  }

  /** Ends the connection with a connection error (RFC 9113 section 5.4.1). */
  private fail(code: number): void {
    this.isFailed = true;
    this.goAway(this.lastProcessedId ?? this.lastStreamId, code);
    for (const stream of [...this.streams.values()])
      if (code !== ErrorCode.enhanceYourCalm || !stream.isInFlight) stream.abort(code);
    if (this.streams.size > 0) setTimeout(() => this.abortAll(code), FINISH_MS).unref();
    this.closeIfDrained();
  }

  private abortAll(code: number): void {
    for (const stream of [...this.streams.values()]) stream.abort(code);
  }

  /** Sends what is left and closes. The client gets a moment: closing with unread input would reset the connection and drop it. */
  private end(): void {
    if (this.isClosed || this.socket.writableEnded) return;
    this.writer.flush();
    this.socket.end(() => this.destroySoon());
  }

  private destroySoon(): void {
    setTimeout(() => this.destroy(), LINGER_MS).unref();
  }
}
