/** The changes of a watch are encoded from their events, byte for byte as the library encodes the messages. */
import { equals, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  KeyValueService,
  type WatchResponse,
  WatchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { WatchEvent } from "../../src/kv/watch.js";
import { createMethodCodec } from "../../src/protocol/rpc/codec.js";
import { encodeChange } from "../../src/protocol/rpc/watch-encoder.js";
import { WatchStream } from "../../src/service/watch-stream.js";
import { anEntry, revision, timeMs } from "./any-entries.js";

const aCommitted = fc
  .tuple(anEntry, fc.option(revision, { nil: undefined }))
  .map(([entry, commitRevision]) => ({ ...entry, commitRevision }));
const superseded = fc.option(fc.nat(), { nil: undefined });
const aChange = fc
  .record({ entry: aCommitted, previous: fc.option(anEntry, { nil: undefined }), superseded })
  .map(({ superseded, ...rest }): WatchEvent => ({ type: "change", ...rest, ...countOf(superseded) }));
const aMark: fc.Arbitrary<WatchEvent> = fc
  .record({
    type: fc.constantFrom("snapshot_end" as const, "progress" as const),
    revision,
    timeMs,
    superseded,
  })
  .map(({ type, revision, timeMs, superseded }) =>
    type === "progress"
      ? { type, revision, timeMs, ...countOf(superseded) }
      : { type, revision, bucketCreatedAtMs: timeMs, ...countOf(superseded) },
  );

function countOf(superseded: number | undefined): { superseded?: number } {
  return superseded === undefined ? {} : { superseded };
}

/** The message that the service makes of an event. */
async function messageOf(event: WatchEvent): Promise<WatchResponse> {
  // eslint-disable-next-line @typescript-eslint/require-await
  async function* events(): AsyncGenerator<WatchEvent, undefined> {
    yield event;
  }
  const result = await new WatchStream(events(), undefined).next();
  if (result.done === true) throw new Error("no message");
  return result.value;
}

it("is what the library encodes and decodes", async () => {
  const codec = createMethodCodec(KeyValueService.method.watch, 1_048_576, undefined);
  await fc.assert(
    fc.asyncProperty(fc.oneof(aChange, aMark), fc.constantFrom(0, 5), async (event, headBytes) => {
      const message = await messageOf(event);
      const library = toBinary(WatchResponseSchema, message);
      const encoded = codec.encode(true, message, headBytes).subarray(headBytes);
      expect(encoded.equals(library)).toBe(true);
      expect(encodeChange(message, headBytes)?.subarray(headBytes).equals(library)).toBe(
        event.type === "change" ? true : undefined,
      );
      expect(equals(WatchResponseSchema, fromBinary(WatchResponseSchema, encoded), message)).toBe(true);
      const json: unknown = JSON.parse(codec.encode(false, message, 0).toString());
      expect(json).toEqual(toJson(WatchResponseSchema, message));
    }),
    { numRuns: 300 },
  );
});
