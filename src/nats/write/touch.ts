/** Touch: writes a key's value again, with another TTL. */
import type { CallContext } from "../../kv/call-context.js";
import type { Condition, TouchOptions } from "../../kv/writes.js";
import { keyNotFound } from "../client/errors.js";
import type { StoredMessage } from "../client/message-reader.js";
import type { KeyPlace } from "../read/entries.js";
import { METADATA_HEADER } from "../streams/metadata.js";
import { CONTENT_TYPE_HEADER, operationOf } from "../streams/records.js";
import { checkCondition, checkRevision, textOf } from "./conditions.js";
import { identityOf, type WriteIdentity } from "./idempotency.js";
import { ttlLines } from "./value-limits.js";
import {
  type Outcome,
  storedBytesOf,
  writeOf,
  type WriteSteps,
  type WriteStepsOptions,
} from "./write-steps.js";
import { MISMATCH } from "./writer.js";

const NO_BYTES = new Uint8Array(0);

/**
 * See `Store.touch`. The write has the condition that the key's newest message is the one that was read. If another write came first, the
 * newer message is read.
 */
export function touch(
  { expiry, limits, reader }: WriteStepsOptions,
  steps: WriteSteps,
  place: KeyPlace,
  options: TouchOptions,
  context: CallContext,
): Promise<bigint> {
  const condition: Condition =
    options.ifRevision === undefined ? "always" : { ifRevision: options.ifRevision };
  checkCondition(place, condition);
  const ttl = ttlLines(options.ttlMs, limits);
  const request = ["touch", place.key, ttl, textOf(condition)];
  const identity = identityOf({ ...options, condition }, request, NO_BYTES, limits);

  /** The key's newest message, if it has a value and the condition holds; otherwise the revision of an earlier attempt. */
  const read = async (sent: WriteIdentity | undefined): Promise<StoredMessage | bigint> => {
    const newest = await reader.newest(place, place.subject, context);
    const live = await expiry.unlessExpired(place, newest, context);
    const isValue = live !== undefined && operationOf(live.headers) === "put";
    const isExpected = condition === "always" || live?.sequence === condition.ifRevision;
    if (isValue && isExpected) return live;
    const applied = await steps.appliedBefore(writeOf(place, NO_BYTES, ttl, sent, "value"), newest, context);
    if (applied !== undefined) return applied;
    if (condition !== "always" && isValue) checkRevision(place, condition.ifRevision, live);
    throw keyNotFound(place.bucket, place.key);
  };

  const attempt = async (sent: WriteIdentity | undefined): Promise<Outcome> => {
    const found = await read(sent);
    if (typeof found === "bigint") return found;
    const { data, headers, sequence } = found;
    const kept = keptLine(headers, CONTENT_TYPE_HEADER) + keptLine(headers, METADATA_HEADER);
    const write = { ...writeOf(place, data, kept + ttl, sent, "value"), expected: sequence };
    const facts = await steps.facts(place, context);
    if (ttl !== "") await steps.checkAllowsTtl(place, facts, context);
    const values = [{ subject: place.subject, bytes: data.length + kept.length }];
    return steps.unlessFull(write, values, facts, context, () =>
      steps.admit(write, storedBytesOf(write), context, () => steps.write(write, context)),
    );
  };

  return steps.run(place, identity, options, context, async (sent) => {
    for (;;) {
      const outcome = await attempt(sent);
      if (outcome !== MISMATCH) return outcome;
    }
  });
}

function keptLine(headers: StoredMessage["headers"], name: string): string {
  const value = headers.get(name);
  return value === "" ? "" : `${name}: ${value}\r\n`;
}
