/** Converts a scan to the contract's messages. Each takes a turn of the event loop, so that short calls come first. */
import { create } from "@bufbuild/protobuf";
import {
  ScanResponse_EndSchema,
  type ScanResponse,
  ScanResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { Attached } from "../kv/attached.js";
import { bulkScheduler } from "../kv/bulk-scheduler.js";
import type { Scan, ScanPart } from "../kv/reads.js";
import type { MessageStream } from "./calls.js";
import { entryMessage, timestampOf } from "./convert.js";

/** Handling an entry is as much work as encoding these bytes. */
const ENTRY_WORK_BYTES = 256;

/** What the messages are made of. */
const partByMessage = new Attached<object, ScanPart>();

/** The part of a scan that a message shows, for encoders that do not read the message itself. */
export function scanPartOf(message: object): ScanPart | undefined {
  return partByMessage.get(message);
}

export class ScanStream implements MessageStream<ScanResponse> {
  /** `flow`: whose scan it is. */
  constructor(
    private readonly scan: Scan,
    private readonly flow: unknown,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<ScanResponse>> {
    const result = await this.scan.next();
    if (result.done === true) return { done: true, value: undefined };
    const part = result.value;
    const bytes = part.entries.reduce((sum, { value }) => sum + value.length, 0);
    const turn = bulkScheduler.turn(this.flow, bytes + ENTRY_WORK_BYTES * part.entries.length);
    if (turn !== undefined) await turn;
    return { done: false, value: messageOf(part) };
  }

  async return(): Promise<IteratorResult<ScanResponse>> {
    await this.scan.return?.();
    return { done: true, value: undefined };
  }
}

/** Its entries are converted when they are read. */
function messageOf(part: ScanPart): ScanResponse {
  const { revision, end } = part;
  const message = create(ScanResponseSchema);
  let entries: ScanResponse["entries"] | undefined;
  Object.defineProperty(message, "entries", {
    enumerable: true,
    get: () => (entries ??= part.entries.map(entryMessage)),
  });
  partByMessage.set(message, part);
  message.revision = revision;
  if (end !== undefined)
    message.end = create(ScanResponse_EndSchema, {
      complete: end.isComplete,
      bucketCreatedAt: timestampOf(end.bucketCreatedAtMs, 0),
    });
  return message;
}
