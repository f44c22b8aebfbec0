/** Streams that need no storage: what a WatchRequest's first filter says is what happens, after as many events as its revision says. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { EntrySchema, ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import type { CallInput } from "../../src/service/calls.js";

/** Refused before the stream is in place. */
export const REFUSALS = ["refused", "refused by a fault"];
/** What comes of a stream. */
export const OUTCOMES = ["", "large", "error", "long error", "metadata", "fault", "malformed"];

/** Some events, more of them than many clients take at once. */
export function answerStream(call: CallInput, request: WatchRequest): AsyncGenerator<WatchResponse> {
  const [outcome = ""] = request.filters;
  if (outcome === "refused") throw failure("refused", call);
  if (outcome === "refused by a fault") throw new TypeError("a fault that no client may read");
  return events(outcome, Number(request.startRevision % 7n), call);
}

async function* events(outcome: string, count: number, call: CallInput): AsyncGenerator<WatchResponse> {
  await Promise.resolve();
  for (let number = 1; number <= count; number++) yield eventOf(outcome, number);
  switch (outcome) {
    case "error":
    case "long error":
    case "metadata":
      throw failure(outcome, call);
    case "fault":
      throw new TypeError("a fault that no client may read");
    case "malformed":
      yield create(WatchResponseSchema, { event: { case: "progress", value: { revision: -1n } } });
  }
}

function failure(outcome: string, call: CallInput): ConnectError {
  const sentence = outcome === "long error" ? "long ".repeat(400) : "ünsaid: 100%\n";
  const metadata =
    outcome === "metadata" ? { "x-more": call.header("x-sent") ?? "none", "x-more-bin": "AAEC" } : undefined;
  return new ConnectError(sentence, Code.Aborted, metadata, [
    { desc: ErrorDetailSchema, value: { reason: "revision_mismatch", revision: 7n } },
  ]);
}

function eventOf(outcome: string, revision: number): WatchResponse {
  const value = Buffer.alloc(outcome === "large" ? 30_000 : 3, revision);
  const entry = create(EntrySchema, { key: "ключ/🔑", value, revision: BigInt(revision) });
  return create(WatchResponseSchema, { event: { case: "change", value: { entry } } });
}
