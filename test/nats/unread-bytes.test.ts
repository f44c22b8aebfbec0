/** What is reserved for answers is held until they have arrived, is given back in full, and survives what callbacks throw. */
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Link } from "../../src/nats/client/link.js";
import { Requests } from "../../src/nats/client/requests.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { WAIT } from "../support/until.js";

const MAX = 100_000;
const ANSWER = 40_000;

let server: TestNatsServer;
let other: NatsConnection;
let link: Link;
let requests: Requests;
let logged: unknown[];

beforeAll(async () => {
  server = await startNatsServer();
  other = await connect({ servers: server.url });
});
afterAll(async () => {
  await other.close();
  await server.remove();
});
beforeEach(async () => {
  logged = [];
  const log = { warn: (facts: unknown) => logged.push(facts) };
  link = new Link(await connect({ servers: server.url }), { unreadBytesMax: MAX, log });
  requests = new Requests(link);
});
afterEach(async () => {
  requests.close();
  expect(link.unread.reserved).toBe(0);
  expect(link.unread.peak).toBeLessThanOrEqual(MAX);
  await link.connection.close();
});

/** What is asked of a subject; nobody answers it but the test. */
function questions(subject: string): Msg[] {
  const asked: Msg[] = [];
  other.subscribe(subject, { callback: (_, message) => void asked.push(message) });
  return asked;
}

const ask = (subject: string, timeMs = 30_000, signal?: AbortSignal): Promise<unknown> => {
  const within = scope(timeMs, signal);
  return requests.one(subject, bytes(""), undefined, within, { bytesMax: ANSWER });
};

describe("the bytes of an answer", () => {
  it("stay reserved after the caller's deadline, until the answer arrives", async () => {
    const asked = questions("late");
    await other.flush();
    await expect(ask("late", 30)).rejects.toMatchObject({ reason: "deadline", sent: true });
    await vi.waitFor(() => expect(asked).toHaveLength(1), WAIT);
    expect(link.unread.reserved).toBe(ANSWER);
    asked[0]?.respond("here");
    await vi.waitFor(() => expect(link.unread.reserved).toBe(0), WAIT);
  });

  it("hold others back, which then get their turn, and are not asked where they gave up meanwhile", async () => {
    const asked = questions("turns");
    await other.flush();
    const calls = [ask("turns"), ask("turns")];
    const caller = new AbortController();
    const canceled = ask("turns", 30_000, caller.signal);
    const third = ask("turns");
    await vi.waitFor(() => expect(asked).toHaveLength(2), WAIT);
    caller.abort();
    await expect(canceled).rejects.toMatchObject({ reason: "canceled", sent: false });
    for (const question of asked.splice(0)) question.respond("here");
    await Promise.all(calls);
    await vi.waitFor(() => expect(asked).toHaveLength(1), WAIT);
    asked[0]?.respond("here");
    await third;
  });

  it("are waited for without using up the time for the answer, which counts from when the request is sent", async () => {
    const asked = questions("timed");
    await other.flush();
    const calls = [ask("timed"), ask("timed")];
    await vi.waitFor(() => expect(asked).toHaveLength(2), WAIT);
    const attempt = { ...scope(30_000), answerTimeoutMs: 20 };
    const timed = requests.one("timed", bytes(""), undefined, attempt, { bytesMax: ANSWER });
    // Much longer than the time for the answer.
    await expect(ask("timed", 200)).rejects.toMatchObject({ reason: "deadline", sent: false });
    for (const question of asked.splice(0)) question.respond("here");
    await Promise.all(calls);
    await expect(timed).rejects.toMatchObject({ reason: "deadline", sent: true });
    await vi.waitFor(() => expect(asked).toHaveLength(1), WAIT);
    asked[0]?.respond("here");
    await vi.waitFor(() => expect(link.unread.reserved).toBe(0), WAIT);
  });

  it("are given back where the answer was lost, when the server has answered a ping", async () => {
    questions("lost");
    await other.flush();
    await expect(ask("lost", 30)).rejects.toMatchObject({ reason: "deadline" });
    expect(link.unread.reserved).toBe(ANSWER);
    await vi.waitFor(() => expect(link.unread.reserved).toBe(0), WAIT);
  });

  it("of several answers are given back as each arrives, also when nobody waits for them any more", async () => {
    const asked = questions("several");
    await other.flush();
    const caller = new AbortController();
    const within = scope(30_000, caller.signal);
    const call = requests.many("several", bytes(""), within, { bytesMax: ANSWER }, () => undefined);
    await vi.waitFor(() => expect(asked).toHaveLength(1), WAIT);
    asked[0]?.respond(Buffer.alloc(10_000));
    await vi.waitFor(() => expect(link.unread.reserved).toBe(ANSWER - 10_000), WAIT);
    caller.abort();
    await expect(call).rejects.toMatchObject({ reason: "canceled" });
    asked[0]?.respond(Buffer.alloc(10_000));
    await vi.waitFor(() => expect(link.unread.reserved).toBe(ANSWER - 20_000), WAIT);
  });
});

describe("an exception in a callback", () => {
  it("is logged once, and ends neither its subscription nor others of the connection", async () => {
    const seen: string[] = [];
    link.subscribe("throws", (message) => {
      seen.push(message.string());
      throw new Error("on purpose");
    });
    const asked = questions("echo");
    await other.flush();
    await link.connection.flush();
    for (const text of ["1", "2", "3"]) other.publish("throws", text);
    await vi.waitFor(() => expect(seen).toEqual(["1", "2", "3"]), WAIT);
    const call = ask("echo");
    await vi.waitFor(() => expect(asked).toHaveLength(1), WAIT);
    asked[0]?.respond("here");
    await call;
    expect(logged).toEqual([{ err: new Error("on purpose") }]);
  });

  it("of one request fails that one alone", async () => {
    const asked = questions("one");
    await other.flush();
    const failing = requests.many("one", bytes(""), scope(), { bytesMax: ANSWER }, () => {
      throw new Error("on purpose");
    });
    const call = ask("one");
    await vi.waitFor(() => expect(asked).toHaveLength(2), WAIT);
    for (const question of asked) question.respond("here");
    await expect(failing).rejects.toThrow("on purpose");
    await call;
    requests.close();
  });
});

describe("identical lists at once", () => {
  it("share two scans: one that was under way, and one for who came later", async () => {
    const open = await openStore(server.url);
    await open.store.createBucket({ name: "shared" }, scope());
    for (let n = 0; n < 50; n++) await open.store.put("shared", `k${n}`, bytes("v"), {}, scope());
    const consumers = questions("$JS.API.CONSUMER.CREATE.KV_APP_shared.>");
    await other.flush();
    const list = (): Promise<{ readonly items: readonly string[] }> =>
      open.store.listKeys("shared", [], { limit: 10, pageToken: "" }, scope());
    const pages = await Promise.all(Array.from({ length: 64 }, list));
    expect(pages.every(({ items }) => items.length === 10)).toBe(true);
    await other.flush();
    expect(consumers.length).toBeGreaterThan(0);
    expect(consumers.length).toBeLessThanOrEqual(2);
    await open.close();
  });
});

describe("reads of single keys beyond the budget", () => {
  it("go over the other connection too, within both budgets", async () => {
    const open = await openStore(server.url);
    await open.store.createBucket({ name: "overflow" }, scope());
    await open.store.put("overflow", "k", bytes("v"), {}, scope());
    await Promise.all(Array.from({ length: 200 }, () => open.store.get("overflow", "k", 0n, scope())));
    expect(open.bulk.unread.peak).toBeGreaterThan(0);
    expect(open.bulk.unread.peak).toBeLessThanOrEqual(0.75 * open.bulk.unread.bytesMax);
    expect(open.link.unread.reserved + open.bulk.unread.reserved).toBe(0);
    await open.close();
  });
});
