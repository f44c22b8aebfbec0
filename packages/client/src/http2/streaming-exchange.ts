/** A streaming call of the Connect protocol: https://connectrpc.com/docs/protocol#streaming-rpcs */
import type { ClientHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { endStreamFromJson } from "@connectrpc/connect/protocol-connect";
import { COMPRESSED_FLAG, END_STREAM_FLAG, type Envelope, EnvelopeReader } from "./envelopes.js";
import type { QueuedMessages } from "../queued-messages.js";
import { Exchange, type ExchangeOptions, type ResponseHeaders } from "./exchange.js";
import { decompressMessage, responseTooLarge } from "./messages.js";

/** Messages that wait for the application. Above this, the stream is paused, and its flow-control window fills. */
const QUEUE_BYTES_MAX = 262_144;

/** Where the request's messages come from: their envelopes, or the only one. */
export type RequestBody = Uint8Array | AsyncIterable<Uint8Array>;

/** What the exchange does with a response. */
export interface StreamHandler<Message> {
  /** The most bytes of a message, also after decompression. */
  readonly bytesMax: number;
  decode(bytes: Buffer): Message;
  /** Called with the response's headers. An error that it throws ends the call. */
  onOpened(headers: ResponseHeaders): void;
  onFailedToOpen(error: ConnectError): void;
}

interface Waiter<Message> {
  resolve(result: IteratorResult<Message, undefined>): void;
  reject(error: unknown): void;
}

/** Iterates over the response's messages. */
export class StreamingExchange<Message> extends Exchange implements QueuedMessages<Message> {
  readonly trailers = new Headers();
  private readonly reader: EnvelopeReader;
  private queue: Envelope[] = [];
  private queueAt = 0;
  private queuedBytes = 0;
  private readonly waiters: Waiter<Message>[] = [];
  private error: ConnectError | undefined;
  private hasEnded = false;
  private isPaused = false;

  constructor(
    options: ExchangeOptions,
    private readonly body: RequestBody,
    private readonly handler: StreamHandler<Message>,
  ) {
    super(options);
    this.reader = new EnvelopeReader(
      handler.bytesMax,
      (envelope) => this.enqueue(envelope),
      () => this.finish(responseTooLarge(handler.bytesMax)),
    );
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    try {
      const message = this.takeArrived();
      if (message !== undefined) return Promise.resolve({ done: false, value: message });
    } catch (error) {
      return Promise.reject(ConnectError.from(error));
    }
    if (this.error !== undefined) return Promise.reject(this.error);
    if (this.hasEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject }));
  }

  /** Resets the stream: CANCEL. */
  return(): Promise<IteratorResult<Message, undefined>> {
    this.queue = [];
    this.end();
    this.finish(new ConnectError("The application left the stream.", Code.Canceled));
    return Promise.resolve({ done: true, value: undefined });
  }

  protected sendBody(stream: ClientHttp2Stream): void {
    if (this.body instanceof Uint8Array) stream.end(this.body);
    else
      void sendMessages(stream, this.body).catch((error: unknown) => this.finish(ConnectError.from(error)));
  }

  protected onResponse(headers: ResponseHeaders): void {
    try {
      this.handler.onOpened(headers);
    } catch (error) {
      this.finish(ConnectError.from(error));
    }
  }

  protected onData(chunk: Buffer): void {
    try {
      this.reader.push(chunk);
    } catch (error) {
      this.finish(ConnectError.from(error));
      return;
    }
    if (this.queuedBytes <= QUEUE_BYTES_MAX) return;
    this.isPaused = true;
    this.stream?.pause();
  }

  protected onEnd(): void {
    this.finish(
      this.hasEnded
        ? undefined
        : new ConnectError(
            "The stream ended without an end-of-stream message.",
            Code.Unavailable,
            undefined,
            undefined,
            new Error("the response is incomplete"),
          ),
    );
  }

  protected reject(error: ConnectError): void {
    if (this.response === undefined) this.handler.onFailedToOpen(error);
    if (!this.hasEnded) this.error = error;
    // Who canceled wants no more messages.
    if (error.code === Code.Canceled || error.code === Code.DeadlineExceeded) this.queue = [];
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
  }

  private enqueue(envelope: Envelope): void {
    if ((envelope.flags & END_STREAM_FLAG) !== 0) {
      this.onEndOfStream(envelope);
      return;
    }
    const waiter = this.waiters.shift();
    if (waiter === undefined) {
      this.queue.push(envelope);
      this.queuedBytes += envelope.data.length;
      return;
    }
    try {
      waiter.resolve({ done: false, value: this.messageOf(envelope) });
    } catch (error) {
      waiter.reject(error);
    }
  }

  takeArrived(): Message | undefined {
    const envelope = this.queue[this.queueAt];
    if (envelope === undefined) return undefined;
    this.queueAt++;
    this.queuedBytes -= envelope.data.length;
    if (this.queueAt === this.queue.length) {
      this.queue = [];
      this.queueAt = 0;
    }
    if (this.isPaused && this.queuedBytes < QUEUE_BYTES_MAX / 2) {
      this.isPaused = false;
      this.stream?.resume();
    }
    return this.messageOf(envelope);
  }

  private messageOf(envelope: Envelope): Message {
    return this.handler.decode(this.bytesOf(envelope));
  }

  private bytesOf({ flags, data }: Envelope): Buffer {
    return (flags & COMPRESSED_FLAG) === 0 ? data : decompressMessage(data, this.handler.bytesMax);
  }

  private onEndOfStream(envelope: Envelope): void {
    const { error, metadata } = endStreamFromJson(this.bytesOf(envelope));
    if (error !== undefined) {
      this.finish(error);
      return;
    }
    metadata.forEach((value, name) => this.trailers.set(name, value));
    this.end();
  }

  private end(): void {
    this.hasEnded = true;
    for (const waiter of this.waiters.splice(0)) waiter.resolve({ done: true, value: undefined });
  }
}

/** Sends the messages as fast as the stream takes them. */
async function sendMessages(stream: ClientHttp2Stream, messages: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const message of messages) {
    if (stream.destroyed) return;
    if (!stream.write(message)) await drained(stream);
  }
  stream.end();
}

function drained(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.once("drain", done).once("close", done);
  });
}
