/** Reads wait for each other where all their answers at once would be too much for a connection. */
import { expect, it } from "vitest";
import { ReadGate } from "../../src/nats/read-gate.js";

const MEBIBYTE = 1_048_576;

/** A gate with room for two answers. */
const narrow = (): ReadGate => new ReadGate({ valueBytesMax: 20 * MEBIBYTE }, false);

it("lets in as many as there is room for, and the others in the order of their coming", async () => {
  const gate = narrow();
  const order: string[] = [];
  expect([gate.enter(), gate.enter()]).toEqual([undefined, undefined]);
  const waiting = ["third", "fourth"].map(async (name) => {
    await gate.enter();
    order.push(name);
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  gate.leave();
  await waiting[0];
  expect(order).toEqual(["third"]);
  gate.leave();
  await waiting[1];
  gate.leave();
  gate.leave();
  expect([gate.enter(), gate.enter(), typeof gate.enter()]).toEqual([undefined, undefined, "object"]);
});

it("has room for one, however large a value may be", () => {
  const gate = new ReadGate({ valueBytesMax: 1_024 * MEBIBYTE }, true);
  expect(gate.enter()).toBeUndefined();
  expect(gate.enter()).toBeInstanceOf(Promise);
});
