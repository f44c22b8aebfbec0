/** One server-streaming call: its way from the request's message to the stream's last word. */
import type { ConnectError } from "@connectrpc/connect";
import type { MessageStream } from "../../service/calls.js";
import { RpcCall } from "../rpc/call.js";
import type { Message } from "../rpc/codec.js";
import { type Fields, envelopedHeaders } from "../rpc/fields.js";
import { ENDINGS, type Ending } from "./ending.js";

/** Messages that are at hand at once are written at once, up to about so many bytes. */
const BATCH_BYTES_MAX = 65_536;

/** A call on some kind of stream, which the subclasses know. */
export abstract class StreamingCall extends RpcCall {
  private messages: MessageStream<Message> | undefined;
  private hasHeaders = false;
  private unblock: (() => void) | undefined;

  /** Whether the client has still to take what was written before there should be more. */
  protected abstract get isFull(): boolean;
  /** Calls the listener once when that is over. */
  protected abstract onceDrained(listener: () => void): void;
  /** Sends the headers at once. May throw where one is not fit to be sent. */
  protected abstract writeHeaders(headers: Readonly<Fields>): void;
  protected abstract write(frames: readonly Buffer[]): void;
  /** As `writeHeaders`, for trailers. */
  protected abstract writeEnding(ending: Ending): void;

  received(): void {
    if (!this.isOver) void this.run();
  }

  override abandon(): void {
    super.abandon();
    this.release();
  }

  protected override expire(error: ConnectError): void {
    super.expire(error);
    void this.fail(error);
  }

  protected async fail(error: unknown): Promise<void> {
    if (this.isOver) return;
    this.release();
    await this.end(this.connectErrorOf(error));
  }

  /** Never rejects. */
  private async run(): Promise<void> {
    const { settings, head } = this;
    try {
      const request = this.body.end();
      // A stream has to end when its time is up also where nobody looks at the signal.
      if (head.timeoutMs !== undefined) this.makeController();
      if (this.hasEnded()) return;
      this.messages = await settings.registry.stream(head.route.method, this, request);
      if (this.hasEnded()) {
        // The client left meanwhile.
        this.release();
        return;
      }
      // Not only with the first message: a client that watches from now on learns that its watch is in place.
      this.sendHeaders();
      await this.pump(this.messages);
      if (!this.hasEnded()) await this.end(undefined);
    } catch (error) {
      await this.fail(error);
    }
  }

  /** The next message is asked for only when there is room: what a slow client lets pile up is in the stream's queue, which is bounded. */
  private async pump(messages: MessageStream<Message>): Promise<void> {
    for (;;) {
      if (this.isFull) await this.drained();
      if (this.hasEnded()) return;
      const result = await messages.next();
      if (this.hasEnded() || result.done === true) return;
      await this.sendBatch(messages, result.value);
    }
  }

  /** Sends a message, and those that are at hand behind it. */
  private async sendBatch(messages: MessageStream<Message>, first: Message): Promise<void> {
    const { route, form, acceptsGzip } = this.head;
    const frames: Buffer[] = [];
    let bytes = 0;
    try {
      let message: Message | undefined = first;
      while (message !== undefined) {
        const frame = route.frames.of(message, form.isBinary, acceptsGzip);
        const ready = frame instanceof Promise ? await frame : frame;
        frames.push(ready);
        bytes += ready.length;
        message = bytes < BATCH_BYTES_MAX ? messages.poll?.() : undefined;
      }
    } finally {
      // Also those before one that can't be encoded.
      if (!this.hasEnded() && bytes > 0) {
        this.countSent(bytes);
        this.write(frames);
      }
    }
  }

  private sendHeaders(): void {
    if (this.hasHeaders) return;
    this.writeHeaders(envelopedHeaders(this));
    this.hasHeaders = true;
  }

  private async end(error: ConnectError | undefined): Promise<void> {
    this.finish();
    try {
      this.sendHeaders();
      const ending = await ENDINGS[this.door](this, error);
      this.countSent("envelope" in ending ? ending.envelope.length : 0);
      this.writeEnding(ending);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  /** As `isOver`, which may change wherever something is waited for. */
  private hasEnded(): boolean {
    return this.isOver;
  }

  private drained(): Promise<void> {
    return new Promise((resolve) => {
      this.unblock = resolve;
      this.onceDrained(resolve);
    });
  }

  /** Lets go of the stream of messages, at once. */
  private release(): void {
    const { messages } = this;
    this.messages = undefined;
    this.unblock?.();
    void messages?.return?.().catch(() => undefined);
  }
}
