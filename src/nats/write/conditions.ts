/** Conditions of writes, compared with a key's newest message. */
import { invalidArgument, KvError } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";
import type { Condition } from "../../kv/writes.js";
import type { StoredMessage } from "../client/message-reader.js";
import { aboutOf, type KeyPlace } from "../read/entries.js";
import { operationOf } from "../streams/records.js";

export function textOf(condition: Condition): string {
  return typeof condition === "string" ? condition : condition.ifRevision.toString();
}

/** Whether there is nothing left to delete, or to purge: a deleted key still has a history, a purged or expired one has none. */
export function isGone(newest: StoredMessage, isPurge: boolean): boolean {
  const operation = operationOf(newest.headers);
  return isPurge ? operation === "purge" || operation === "expire" : operation !== "put";
}

export function checkCondition(place: KeyPlace, condition: Condition): void {
  if (typeof condition === "object" && condition.ifRevision < 1n)
    throw invalidArgument("The revision of a condition is at least 1.", aboutOf(place));
}

export function keyExists(place: KeyPlace, revision: bigint): KvError {
  return new KvError("key_exists", `The key ${quote(place.key)} has a value.`, {
    ...aboutOf(place),
    revision,
  });
}

export function checkRevision(
  place: KeyPlace,
  expected: bigint,
  newest: Pick<StoredMessage, "sequence"> | undefined,
): void {
  const current = newest?.sequence ?? 0n;
  if (current === expected) return;
  const found = current === 0n ? "it has none" : `it is ${current.toString()}`;
  throw new KvError(
    "revision_mismatch",
    `The newest revision of the key ${quote(place.key)} is not ${expected.toString()}: ${found}.`,
    { ...aboutOf(place), revision: current },
  );
}
