/** The memory of the queues of all watches. */
import { expect, it } from "vitest";
import type { Entry } from "../../src/kv/entry.js";
import type { WatchEvent } from "../../src/kv/watch.js";
import { EventQueue } from "../../src/nats/watch/event-queue.js";
import { QueueMemory } from "../../src/nats/watch/queue-memory.js";

const VALUE_BYTES = 10_000;
const EVENT_BYTES = 11_501;

function entryOf(revision: number): Entry {
  return {
    ...{ key: "k", value: new Uint8Array(VALUE_BYTES), revision: BigInt(revision), createdAtMs: 0 },
    ...{ createdAtNanos: 0, operation: "put", contentType: "" },
  };
}

const eventOf = (entry: Entry): WatchEvent => ({ type: "change", entry });

/** A queue whose owner has a name; `ended` gets it if it is ended as slow. */
function queueIn(memory: QueueMemory, ended: string[] = [], name = ""): EventQueue {
  const queue: EventQueue = new EventQueue(memory, {
    get queuedBytes() {
      return queue.bytes;
    },
    endAsSlow() {
      ended.push(name);
      queue.clear();
    },
  });
  return queue;
}

it("counts an entry once for all queues that hold it, in whatever event", () => {
  const memory = new QueueMemory(1_000_000);
  const entry = entryOf(1);
  const queues = [1, 2, 3].map(() => queueIn(memory));
  for (const queue of queues) queue.push({ ...eventOf(entry), superseded: 1 });
  expect(memory.bytes).toBe(EVENT_BYTES);
  queues[0]?.shift();
  queues[1]?.clear();
  expect(memory.bytes).toBe(EVENT_BYTES);
  queues[2]?.shift();
  expect(memory.bytes).toBe(0);
});

it("counts the previous entry of an event, also if it is found later", () => {
  const memory = new QueueMemory(1_000_000);
  const queue = queueIn(memory);
  const event = eventOf(entryOf(2));
  queue.push({ type: "change", entry: entryOf(3), previous: entryOf(2) });
  const found = queue.pushPending(event);
  const dropped = queue.pushPending(event);
  queue.settle(found, { type: "change", entry: entryOf(2), previous: entryOf(1) });
  expect(queue.bytes).toBe(5 * VALUE_BYTES + 3);
  expect(memory.bytes).toBe(5 * EVENT_BYTES);
  queue.clear();
  queue.settle(dropped, { type: "change", entry: entryOf(2), previous: entryOf(1) });
  expect([queue.bytes, memory.bytes]).toEqual([0, 0]);
});

it("ends the watches with the largest queues above its limit", () => {
  const ended: string[] = [];
  const memory = new QueueMemory(4 * EVENT_BYTES);
  const small = queueIn(memory, ended, "small");
  const large = queueIn(memory, ended, "large");
  small.push(eventOf(entryOf(1)));
  for (let revision = 2; revision <= 4; revision++) large.push(eventOf(entryOf(revision)));
  expect([ended, memory.hasRoom]).toEqual([[], false]);
  small.push(eventOf(entryOf(5)));
  expect(ended).toEqual(["large"]);
  expect(memory.bytes).toBe(2 * EVENT_BYTES);
  expect(memory.hasRoom).toBe(true);
});
