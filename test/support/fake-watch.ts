/** A watch that a test feeds by hand, and that records what the door takes of it. */
import { create } from "@bufbuild/protobuf";
import { EventEmitter, once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  type WatchResponse,
  WatchResponse_ChangeSchema,
  WatchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { EntrySchema, Operation } from "../../gen/ironflow/kv/v1/types_pb.js";

/** So many turns of the event loop without an event taken: the door waits for its client. */
const STALLED_TURNS = 100;

export class FakeWatch implements AsyncIterableIterator<WatchResponse> {
  /** How many events the door has taken. */
  taken = 0;
  isReturned = false;
  private readonly waiting: (WatchResponse | Error)[] = [];
  private readonly signals = new EventEmitter();

  push(...events: (WatchResponse | Error)[]): void {
    this.waiting.push(...events);
    this.signals.emit("event");
  }

  /** Resolves when the door has let go of the watch. */
  async returned(): Promise<void> {
    if (!this.isReturned) await once(this.signals, "return");
  }

  /**
   * Resolves with the number of events taken when the door takes no more. A door that does not wait for its client takes all events in much
   * less time.
   */
  async stalled(): Promise<number> {
    let taken = -1;
    for (let turns = 0; turns < STALLED_TURNS; turns++) {
      if (taken !== this.taken) turns = 0;
      taken = this.taken;
      await nextTurn();
    }
    return taken;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchResponse>> {
    while (this.waiting.length === 0 && !this.isReturned) {
      await Promise.race([once(this.signals, "event"), once(this.signals, "return")]);
    }
    if (this.isReturned) return { done: true, value: undefined };
    const event = this.waiting.shift();
    if (event instanceof Error) throw event;
    if (event === undefined) return { done: true, value: undefined };
    this.taken++;
    return { done: false, value: event };
  }

  poll(): WatchResponse | undefined {
    const [event] = this.waiting;
    if (this.isReturned || event === undefined || event instanceof Error) return undefined;
    this.waiting.shift();
    this.taken++;
    return event;
  }

  return(): Promise<IteratorResult<WatchResponse>> {
    this.isReturned = true;
    this.signals.emit("return");
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** A change of one key. */
export function change(
  revision: bigint,
  value: Uint8Array = new Uint8Array(),
  operation = Operation.PUT,
): WatchResponse {
  const entry = create(EntrySchema, { key: "k", value, revision, operation });
  return create(WatchResponseSchema, {
    event: { case: "change", value: create(WatchResponse_ChangeSchema, { entry }) },
  });
}
