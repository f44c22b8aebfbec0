/** The frames of a watch: one JSON object per event, the same over WebSocket and SSE. Existing SDKs depend on these names. */
import type { Message } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { WatchRequest, WatchResponse } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { type Entry, Operation } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { Attached, AttachedEncoding } from "../../kv/attached.js";
import type { HttpCall } from "../rest/call.js";
import { entryMembers } from "../rest/entry-fields.js";
import { detailOf, opaqueRefusal, refusalOf } from "../rest/errors.js";
import { LargeValues } from "../large-values.js";
import { writeTime } from "../rest/json.js";
import type { Shape } from "../rest/shape.js";

const encodings = new AttachedEncoding<Frame>();

/** An encoded event. */
export class Frame {
  constructor(
    private readonly text: string,
    readonly revision: bigint,
    private readonly large?: LargeValues,
  ) {}

  /** The JSON; undefined if it is large: then use `bytes`. */
  get json(): string | undefined {
    return this.large?.isNeeded === true ? undefined : this.text;
  }

  /** The JSON in UTF-8; encoded once for all streams that send it. */
  get bytes(): Buffer {
    let bytes = encodings.get(this);
    if (bytes === undefined) {
      bytes = this.large?.encode(this.text) ?? Buffer.from(this.text);
      encodings.set(this, bytes);
    }
    return bytes;
  }
}

/** Watchers of a bucket share event objects, so each event is encoded once. */
const frameByEvent = new Attached<WatchResponse, Frame>();

/** The frames of one watch, of a bucket or of something else. */
export interface WatchFrames {
  /** The frame of an event; undefined if the client did not request such events. */
  frameOf(event: Message): Frame | undefined;
  /** For an event without a frame: all changes up to this revision have been sent. */
  positionOf(event: Message): bigint | undefined;
}

/** Creates the frames of a watch. */
export function framesOf(
  shape: Pick<Shape, "frame">,
  call: HttpCall,
  wants: { readonly snapshotEnd: boolean; readonly progress: boolean },
): WatchFrames {
  const { frame } = shape;
  if (frame === undefined) return new FrameEncoder((call.request as Message as WatchRequest).bucket, wants);
  return {
    frameOf(event) {
      const { json, revision } = frame(event);
      return new Frame(json, revision);
    },
    positionOf: () => undefined,
  };
}

/** The frames of a bucket's watch. */
class FrameEncoder implements WatchFrames {
  /** Superseded revisions that an event without a frame counted. */
  private superseded = 0n;

  constructor(
    private readonly bucket: string,
    private readonly wants: { readonly snapshotEnd: boolean; readonly progress: boolean },
  ) {}

  frameOf(message: Message): Frame | undefined {
    const event = message as WatchResponse;
    const superseded = this.superseded + event.superseded;
    const { case: kind } = event.event;
    if ((kind === "snapshotEnd" || kind === "progress") && !this.wants[kind]) {
      this.superseded = superseded;
      return undefined;
    }
    this.superseded = 0n;
    if (superseded > 0n) return encode(event, this.bucket, superseded);
    const known = frameByEvent.get(event);
    if (known !== undefined) return known;
    const frame = encode(event, this.bucket, 0n);
    if (frame !== undefined) frameByEvent.set(event, frame);
    return frame;
  }

  positionOf(message: Message): bigint | undefined {
    const { event } = message as WatchResponse;
    return event.case === "snapshotEnd" || event.case === "progress" ? event.value.revision : undefined;
  }
}

function encode(event: WatchResponse, bucket: string, superseded: bigint): Frame | undefined {
  const { event: what } = event;
  const gone = superseded === 0n ? "" : `,"superseded":${superseded}`;
  // A bucket's name needs no escapes in JSON.
  switch (what.case) {
    case "change": {
      const { entry, previous, commitRevision } = what.value;
      if (entry === undefined) return undefined;
      const large = new LargeValues();
      const state = stateOf(entry, large);
      const before = previous === undefined ? "" : `,"previous":{${stateOf(previous, large)}}`;
      const commit = commitRevision === 0n ? "" : `,"commit_revision":${commitRevision}`;
      return new Frame(
        `{"type":"kv_update","key":${JSON.stringify(entry.key)},${state},"bucket":"${bucket}"${before}${commit}${gone}}`,
        entry.revision,
        large,
      );
    }
    case "snapshotEnd": {
      const { revision, bucketCreatedAt } = what.value;
      const createdAt =
        bucketCreatedAt === undefined ? "" : `,"bucket_created_at":"${writeTime(bucketCreatedAt)}"`;
      return new Frame(
        `{"type":"snapshot_end","revision":${revision},"bucket":"${bucket}"${createdAt}${gone}}`,
        revision,
      );
    }
    case "progress": {
      const { revision, time } = what.value;
      const at = time === undefined ? "" : `,"time":"${writeTime(time)}"`;
      return new Frame(
        `{"type":"progress","revision":${revision},"bucket":"${bucket}"${at}${gone}}`,
        revision,
      );
    }
    case undefined:
      return undefined;
  }
}

function stateOf(entry: Entry, large: LargeValues): string {
  const isPut = entry.operation === Operation.PUT;
  return `"value":"${isPut ? large.base64(entry.value) : ""}","revision":${entry.revision},"operation":"${isPut ? "put" : "delete"}"${entryMembers(entry)}`;
}

/** The last frame of a failed watch. If the client can resume, the message names the revision. */
export function errorFrame(
  error: unknown,
  requestId: string | undefined,
): { readonly json: string; readonly code: string } {
  const { message, code } = refusalOf(error) ?? opaqueRefusal(requestId);
  const resumeAt = error instanceof ConnectError ? (detailOf(error)?.revision ?? 0n) : 0n;
  const advice = resumeAt > 0n && RESUMABLE.has(code) ? ` Resume with start_revision=${resumeAt}.` : "";
  return { json: `{"type":"error","message":${JSON.stringify(message + advice)}}`, code };
}

const RESUMABLE: ReadonlySet<string> = new Set(["slow_watcher", "shutting_down", "revision_compacted"]);
