/** Converts a watch to the contract's messages. Not a generator, to save memory: ten thousand watches may be open. */
import { create } from "@bufbuild/protobuf";
import {
  type WatchResponse,
  type WatchResponse_Change,
  WatchResponse_ChangeSchema,
  WatchResponse_ProgressSchema,
  WatchResponse_SnapshotEndSchema,
  WatchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { Attached } from "../kv/attached.js";
import { bulkScheduler, liveScheduler, SHORT_BYTES_MAX } from "../kv/bulk-scheduler.js";
import type { Watch, WatchEvent } from "../kv/watch.js";
import type { MessageStream } from "./calls.js";
import { entryMessage, timestampOf } from "./convert.js";

/** Watchers of a bucket share event objects. Each is converted once, and protocols cache the encoding by the message's identity. */
const messageByEvent = new Attached<WatchEvent, WatchResponse>();

/**
 * Iterates a store's watch as responses; `return()` ends the watch immediately. Large events take turns of the event loop: one that many
 * watchers share is written to a few of them at a time.
 */
export class WatchStream implements MessageStream<WatchResponse> {
  /** A large event that `poll` left for `next`. */
  private large: WatchEvent | undefined;

  /** `flow`: whose watch it is. */
  constructor(
    private readonly watch: Watch,
    private readonly flow: unknown,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchResponse>> {
    let event = this.large;
    this.large = undefined;
    if (event === undefined) {
      const result = await this.watch.next();
      if (result.done === true) return result;
      event = result.value;
    }
    const bytes = bytesOf(event);
    if (bytes > SHORT_BYTES_MAX) {
      const scheduler = this.watch.isCatchingUp === true ? bulkScheduler : liveScheduler;
      await scheduler.turn(this.flow, bytes);
    }
    return { done: false, value: messageOf(event) };
  }

  poll(): WatchResponse | undefined {
    if (this.large !== undefined) return undefined;
    const event = this.watch.poll?.();
    if (event === undefined) return undefined;
    if (bytesOf(event) <= SHORT_BYTES_MAX) return messageOf(event);
    this.large = event;
    return undefined;
  }

  async return(): Promise<IteratorResult<WatchResponse>> {
    await this.watch.return?.();
    return { done: true, value: undefined };
  }
}

/** Of the values. */
function bytesOf(event: WatchEvent): number {
  return event.type === "change" ? event.entry.value.length + (event.previous?.value.length ?? 0) : 0;
}

type ChangeEvent = WatchEvent & { readonly type: "change" };

/** A change as a message, which converts its entries when it is read: most encoders read the change itself. */
class ChangeMessage {
  readonly $typeName = WatchResponseSchema.typeName;
  private converted: WatchResponse["event"] | undefined;

  constructor(readonly change: ChangeEvent) {}

  get superseded(): bigint {
    return BigInt(this.change.superseded ?? 0);
  }

  get event(): WatchResponse["event"] {
    return (this.converted ??= { case: "change", value: changeMessage(this.change) });
  }
}

/** The change that a message shows; undefined if it is another one. */
export function changeOf(message: object): ChangeEvent | undefined {
  return message instanceof ChangeMessage ? message.change : undefined;
}

function messageOf(event: WatchEvent): WatchResponse {
  let message = messageByEvent.get(event);
  if (message === undefined) {
    message = event.type === "change" ? new ChangeMessage(event) : markMessage(event);
    messageByEvent.set(event, message);
  }
  return message;
}

function markMessage(event: Exclude<WatchEvent, ChangeEvent>): WatchResponse {
  const message = create(WatchResponseSchema);
  message.event = markOf(event);
  message.superseded = BigInt(event.superseded ?? 0);
  return message;
}

function markOf(event: Exclude<WatchEvent, ChangeEvent>): WatchResponse["event"] {
  switch (event.type) {
    case "snapshot_end":
      return {
        case: "snapshotEnd",
        value: create(WatchResponse_SnapshotEndSchema, {
          revision: event.revision,
          bucketCreatedAt: timestampOf(event.bucketCreatedAtMs, 0),
        }),
      };
    case "progress":
      return {
        case: "progress",
        value: create(WatchResponse_ProgressSchema, {
          revision: event.revision,
          time: timestampOf(event.timeMs, 0),
        }),
      };
  }
}

function changeMessage(event: ChangeEvent): WatchResponse_Change {
  const message = create(WatchResponse_ChangeSchema);
  message.entry = entryMessage(event.entry);
  if (event.previous !== undefined) message.previous = entryMessage(event.previous);
  message.commitRevision = event.entry.commitRevision ?? 0n;
  return message;
}
