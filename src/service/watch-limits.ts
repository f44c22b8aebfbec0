/** How many watches one connection and one caller may hold at once. (The total in the process is the store's.) */
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import type { CallContext } from "./calls.js";

/** Counts the watches that are open. */
export class WatchCounts {
  private readonly byConnection = new WeakMap<object, number>();
  private readonly byPrincipal = new Map<string, number>();

  constructor(private readonly limits: Limits) {}

  /** Takes a place, or throws `too_many_watches`. Call what it returns when the watch is over; more than once is harmless. */
  take(context: CallContext): () => void {
    const { connection, principal } = context;
    const onConnection = this.byConnection.get(connection) ?? 0;
    if (onConnection >= this.limits.watchesPerConnectionMax) {
      throw tooMany(
        `This connection has ${onConnection} watches; at most ${this.limits.watchesPerConnectionMax} are allowed.`,
      );
    }
    const ofPrincipal = this.byPrincipal.get(principal) ?? 0;
    if (principal !== ANONYMOUS && ofPrincipal >= this.limits.watchesPerApiKeyMax) {
      throw tooMany(
        `This API key has ${ofPrincipal} watches; at most ${this.limits.watchesPerApiKeyMax} are allowed.`,
      );
    }
    this.byConnection.set(connection, onConnection + 1);
    this.byPrincipal.set(principal, ofPrincipal + 1);
    let taken = true;
    return () => {
      if (!taken) return;
      taken = false;
      this.byConnection.set(connection, (this.byConnection.get(connection) ?? 1) - 1);
      const left = (this.byPrincipal.get(principal) ?? 1) - 1;
      if (left > 0) this.byPrincipal.set(principal, left);
      else this.byPrincipal.delete(principal);
    };
  }
}

/** The caller where no API key is configured. */
export const ANONYMOUS = "anonymous";

function tooMany(sentence: string): KvError {
  return new KvError("too_many_watches", sentence, { retryAfterMs: 1_000 });
}

/** What is told of a stream's end. */
export interface StreamEnd {
  /** Makes of a failure what the client sees. */
  failed(error: unknown): unknown;
  ended(): void;
}

/** A stream that gives its place back however it ends, and whose failures are the client's. */
export class LimitedStream<Item> implements AsyncIterableIterator<Item> {
  private isOver = false;

  constructor(
    private readonly stream: AsyncIterableIterator<Item>,
    private readonly release: () => void,
    private readonly end: StreamEnd,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Item>> {
    try {
      const result = await this.stream.next();
      if (result.done === true) this.finish();
      return result;
    } catch (error) {
      this.release();
      if (this.isOver) return { done: true, value: undefined };
      this.isOver = true;
      throw this.end.failed(error);
    }
  }

  async return(): Promise<IteratorResult<Item>> {
    this.finish();
    await this.stream.return?.();
    return { done: true, value: undefined };
  }

  private finish(): void {
    this.release();
    if (this.isOver) return;
    this.isOver = true;
    this.end.ended();
  }
}
