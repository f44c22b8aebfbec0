/** Words that the tests of stores share. */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { KvError, type KvErrorKind } from "../../src/kv/errors.js";
import type { CallContext } from "../../src/kv/call-context.js";
import type { Consistency } from "../../src/kv/reads.js";
import type { Entry } from "../../src/kv/entry.js";
import type { Store } from "../../src/kv/store.js";

/** A scope that ends after so many milliseconds. Default: more than a busy machine needs. */
export function scope(timeMs = 60_000, signal = new AbortController().signal): CallContext {
  return { deadlineMs: performance.now() + timeMs, signal };
}

export function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

export function text(value: Uint8Array): string {
  return Buffer.from(value).toString();
}

/** The whole history of a key, in one page. */
export async function historyOf(
  store: Store,
  bucket: string,
  key: string,
  within: CallContext,
  consistency?: Consistency,
): Promise<readonly Entry[]> {
  const page = await store.history(bucket, key, { limit: 0, pageToken: "" }, within, consistency);
  return page.items;
}

/** The error that a call is refused with. */
export async function refusal(call: Promise<unknown>): Promise<KvError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
  throw new Error("the call was not refused");
}

/**
 * The refusal of a call at its deadline, after its request was sent: `untilSent` is called before each attempt, and resolves then. On a busy
 * machine a deadline may pass before; then the call is made again, with twice the time.
 */
export async function refusalAtDeadline(
  untilSent: () => Promise<unknown>,
  call: (within: CallContext) => Promise<unknown>,
): Promise<KvError> {
  for (let timeMs = 100; ; timeMs *= 2) {
    const request = { isSent: false };
    void untilSent().then(() => (request.isSent = true));
    const error = await refusal(call(scope(timeMs)));
    if (request.isSent) return error;
  }
}

export async function expectRefusal(
  call: Promise<unknown>,
  kind: KvErrorKind,
  revision?: bigint,
): Promise<KvError> {
  const error = await refusal(call);
  expect(error.kind, error.message).toBe(kind);
  if (revision !== undefined) expect(error.revision).toBe(revision);
  return error;
}

export function newBucketName(): string {
  return `b-${randomUUID().slice(0, 13)}`;
}
