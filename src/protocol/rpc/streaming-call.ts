/** A server-streaming call, from the request message to the end of the response stream. */
import type { ConnectError } from "@connectrpc/connect";
import type { MessageStream } from "../../service/calls.js";
import { RpcCall } from "./call.js";
import type { Message } from "./codec.js";
import { envelopedHeaders } from "./fields.js";

/** Messages that are available together are written together, up to about this many bytes. */
const BATCH_BYTES_MAX = 65_536;

export class StreamingCall extends RpcCall {
  private messages: MessageStream<Message> | undefined;
  private hasHeaders = false;
  private unblock: (() => void) | undefined;

  received(): void {
    if (!this.isOver) void this.run();
  }

  protected override abandon(): void {
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
      // Starts the deadline timer: the stream must end at its deadline even if no handler observes the signal.
      if (head.timeoutMs !== undefined) this.makeController();
      if (this.hasEnded()) return;
      this.messages = await settings.registry.stream(head.route.method, this, request);
      if (this.hasEnded()) {
        // The client canceled meanwhile.
        this.release();
        return;
      }
      // Sent before the first message: they tell the client that its watch has started.
      this.sendHeaders();
      await this.pump(this.messages);
      if (!this.hasEnded()) await this.end(undefined);
    } catch (error) {
      await this.fail(error);
    }
  }

  /** Pulls the next message only when the client has room for it. A slow client's backlog stays in the stream's bounded queue. */
  private async pump(messages: MessageStream<Message>): Promise<void> {
    for (;;) {
      if (this.exchange.isFull) await this.drained();
      if (this.hasEnded()) return;
      const result = await messages.next();
      if (this.hasEnded() || result.done === true) return;
      await this.sendBatch(messages, result.value);
    }
  }

  /** Sends a message, and those that are available right after it. */
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
      // Also sends the messages before one that can't be encoded.
      if (!this.hasEnded() && bytes > 0) {
        this.countSent(bytes);
        this.exchange.write(frames);
      }
    }
  }

  private sendHeaders(): void {
    if (this.hasHeaders) return;
    this.exchange.start(200, envelopedHeaders(this));
    this.hasHeaders = true;
  }

  private async end(error: ConnectError | undefined): Promise<void> {
    this.finish();
    try {
      this.sendHeaders();
      const { envelope, trailers } = await this.form.protocol.endStream(this, error);
      this.countSent(envelope?.length ?? 0);
      this.exchange.end(envelope, trailers);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  /** Reads `isOver` again after an await: TypeScript's narrowing would assume that it is unchanged. */
  private hasEnded(): boolean {
    return this.isOver;
  }

  private drained(): Promise<void> {
    return new Promise((resolve) => {
      this.unblock = resolve;
      this.exchange.onDrained(resolve);
    });
  }

  /** Ends the message stream and wakes the pump. */
  private release(): void {
    const { messages } = this;
    this.messages = undefined;
    this.unblock?.();
    void messages?.return?.().catch(() => undefined);
  }
}
