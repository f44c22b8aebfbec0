/** Limits concurrent watches per connection and per API key. The store limits the total per process. */
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { ANONYMOUS } from "./principal.js";
import type { RequestContext, MessageStream } from "./calls.js";

/** The share of a connection's streams that watches may use. */
const WATCHES_PER_STREAM = 0.8;

/** Counts open watches. */
export class WatchCounts {
  private readonly byConnection = new WeakMap<object, number>();
  private readonly byCaller = new Map<string, number>();

  private readonly perConnectionMax: number;

  constructor(private readonly limits: Limits) {
    // Watches must leave streams for calls: a client waits for a free stream without an error.
    const streamsMax = Math.max(1, Math.floor(limits.streamsPerConnectionMax * WATCHES_PER_STREAM));
    this.perConnectionMax = Math.min(limits.watchesPerConnectionMax, streamsMax);
  }

  /** Counts a watch; throws `too_many_watches` at a limit. Call the returned function when the watch ends; it may be called twice. */
  take(context: RequestContext): () => void {
    const { connection } = context;
    const { id } = context.caller;
    const onConnection = this.byConnection.get(connection) ?? 0;
    if (onConnection >= this.perConnectionMax) {
      throw tooMany(
        `This connection has ${onConnection} watches; at most ${this.perConnectionMax} are allowed.`,
      );
    }
    const ofCaller = this.byCaller.get(id) ?? 0;
    if (id !== ANONYMOUS && ofCaller >= this.limits.watchesPerApiKeyMax) {
      throw tooMany(
        `This API key has ${ofCaller} watches; at most ${this.limits.watchesPerApiKeyMax} are allowed.`,
      );
    }
    this.byConnection.set(connection, onConnection + 1);
    this.byCaller.set(id, ofCaller + 1);
    let isCounted = true;
    return () => {
      if (!isCounted) return;
      isCounted = false;
      this.byConnection.set(connection, (this.byConnection.get(connection) ?? 1) - 1);
      const left = (this.byCaller.get(id) ?? 1) - 1;
      if (left > 0) this.byCaller.set(id, left);
      else this.byCaller.delete(id);
    };
  }
}

function tooMany(sentence: string): KvError {
  return new KvError("too_many_watches", sentence, { retryAfterMs: 1_000 });
}

/** Called when a stream ends. */
export interface StreamEnd {
  /** Converts an error to the one sent to the client. */
  failed(error: unknown): unknown;
  ended(): void;
}

/** Wraps a stream. Releases its count when it ends, in whatever way, and converts its errors. */
export class LimitedStream<Item> implements MessageStream<Item> {
  private hasEnded = false;
  private readonly releases: (() => void)[];
  /** The error of `fail`. */
  private failure: unknown;

  constructor(
    private readonly stream: MessageStream<Item>,
    release: () => void,
    private readonly end: StreamEnd,
  ) {
    this.releases = [release];
  }

  /** Adds a callback for the end of the stream. */
  onEnd(release: () => void): void {
    if (this.hasEnded) release();
    else this.releases.push(release);
  }

  /** Ends the stream with an error, which also fails a pending read. */
  fail(error: unknown): void {
    if (this.hasEnded) return;
    this.failure = error;
    void this.stream.return?.().catch(() => undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  poll(): Item | undefined {
    return this.failure === undefined ? this.stream.poll?.() : undefined;
  }

  async next(): Promise<IteratorResult<Item>> {
    try {
      const result = await this.stream.next();
      if (this.failure !== undefined) throw this.failure;
      if (result.done === true) this.finish();
      return result;
    } catch (error) {
      this.release();
      if (this.hasEnded) return { done: true, value: undefined };
      this.hasEnded = true;
      throw this.end.failed(error);
    }
  }

  async return(): Promise<IteratorResult<Item>> {
    this.finish();
    await this.stream.return?.();
    return { done: true, value: undefined };
  }

  private release(): void {
    for (const release of this.releases.splice(0)) release();
  }

  private finish(): void {
    this.release();
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.end.ended();
  }
}
