/** Who answers no ping is gone, unless it was this process that had no time. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { PingMonitor } from "../src/ping-monitor.js";

const INTERVAL_MS = 1_000;
let rounds: PingMonitor;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
  rounds = new PingMonitor(INTERVAL_MS);
});
afterEach(() => {
  vi.useRealTimers();
});

function after(timeMs: number): string {
  vi.advanceTimersByTime(timeMs);
  return rounds.next();
}

it("pings as long as answers come", () => {
  for (let round = 0; round < 3; round++) {
    expect(after(INTERVAL_MS)).toBe("ping");
    rounds.answered();
  }
});

it("takes a client for gone that did not answer within a round", () => {
  expect(after(INTERVAL_MS)).toBe("ping");
  expect(after(INTERVAL_MS)).toBe("gone");
});

it("gives another round where one came late: the answer may be waiting to be read", () => {
  expect(after(INTERVAL_MS)).toBe("ping");
  expect(after(3 * INTERVAL_MS)).toBe("wait");
  expect(after(INTERVAL_MS)).toBe("gone");
});

it("goes on after a late round when the answer came", () => {
  expect(after(INTERVAL_MS)).toBe("ping");
  expect(after(3 * INTERVAL_MS)).toBe("wait");
  rounds.answered();
  expect(after(INTERVAL_MS)).toBe("ping");
});
