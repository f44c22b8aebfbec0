/** How long the SDK retries a write with an unknown outcome: within half of the idempotency window, as the contract demands. */
import { expect, it } from "vitest";
import { KvUnavailableError, KvUnknownOutcomeError } from "@ironflow-kv/client";
import { WriteAttempts } from "../../packages/client/src/write-attempts.js";

const WINDOW_MS = 600_000;
const unknown = (): KvUnknownOutcomeError =>
  new KvUnknownOutcomeError("unknown", {
    code: "unknown",
    reason: "outcome_unknown",
    retryable: false,
    idempotencyWindowMs: WINDOW_MS,
  });

it.for([
  { delayMs: 0, isRetried: true },
  { delayMs: 0.4 * WINDOW_MS, isRetried: true },
  { delayMs: 0.5 * WINDOW_MS, isRetried: false },
  { delayMs: 0.9 * WINDOW_MS, isRetried: false },
])("a retry $delayMs ms after the first attempt: $isRetried", ({ delayMs, isRetried }) => {
  expect(new WriteAttempts(true, 0n).canRetry(unknown(), delayMs)).toBe(isRetried);
});

it("limits retries of later failures too", () => {
  const attempts = new WriteAttempts(true, 0n);
  expect(attempts.canRetry(unknown(), 0)).toBe(true);
  const unavailable = new KvUnavailableError("away", {
    code: "unavailable",
    reason: "unavailable",
    retryable: true,
  });
  expect(attempts.canRetry(unavailable, 0.6 * WINDOW_MS)).toBe(false);
});

it("does not retry a write without an idempotency key", () => {
  expect(new WriteAttempts(false, 0n).canRetry(unknown(), 0)).toBe(false);
});
