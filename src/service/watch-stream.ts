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
import type { Watch, WatchEvent } from "../kv/store.js";
import type { MessageStream } from "./calls.js";
import { entryMessage, timestampOf } from "./convert.js";

/** Watchers of a bucket share event objects. Each is converted once, and protocols cache the encoding by the message's identity. */
const messageByEvent = new WeakMap<WatchEvent, WatchResponse>();

/** Iterates a store's watch as responses; `return()` ends the watch immediately. */
export class WatchStream implements MessageStream<WatchResponse> {
  constructor(private readonly watch: Watch) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchResponse>> {
    const result = await this.watch.next();
    return result.done === true ? result : { done: false, value: messageOf(result.value) };
  }

  poll(): WatchResponse | undefined {
    const event = this.watch.poll?.();
    return event === undefined ? undefined : messageOf(event);
  }

  async return(): Promise<IteratorResult<WatchResponse>> {
    await this.watch.return?.();
    return { done: true, value: undefined };
  }
}

function messageOf(event: WatchEvent): WatchResponse {
  let message = messageByEvent.get(event);
  if (message === undefined) {
    message = create(WatchResponseSchema);
    message.event = eventMessage(event);
    message.superseded = BigInt(event.superseded ?? 0);
    messageByEvent.set(event, message);
  }
  return message;
}

function eventMessage(event: WatchEvent): WatchResponse["event"] {
  switch (event.type) {
    case "change":
      return { case: "change", value: changeMessage(event) };
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

function changeMessage(event: WatchEvent & { type: "change" }): WatchResponse_Change {
  const message = create(WatchResponse_ChangeSchema);
  message.entry = entryMessage(event.entry);
  if (event.previous !== undefined) message.previous = entryMessage(event.previous);
  return message;
}
