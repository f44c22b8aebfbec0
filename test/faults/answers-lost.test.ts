/**
 * Answers lost between clients, two copies of the service and the storage, in buckets that remember writes for a second: nothing is applied
 * twice, and nothing is told that is not so.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BucketService } from "@ironflow-kv/client/gen";
import { type FaultyLink, openFaultyLink } from "../nats/faulty-link.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type Deployment, deploy } from "./deployment.js";
import { LossyWriters, type ToldWrite } from "./lossy-writers.js";
import { IS_LONG, report, SEED, times } from "./report.js";
import { type StoredMessage, StoredMessages } from "./stored-messages.js";
import { randomFrom } from "./workload.js";
import { until } from "../support/until.js";

const BUCKETS = ["brief", "brief-history", "changing"] as const;
const TTL = { seconds: 1n };

let nats: TestNatsServer;
let links: [FaultyLink, FaultyLink];
let copies: [Deployment, Deployment];

beforeAll(async () => {
  nats = await startNatsServer();
  links = await Promise.all([openFaultyLink(nats.port), openFaultyLink(nats.port)]);
  copies = await Promise.all([deploy({ NATS_URL: links[0].url }), deploy({ NATS_URL: links[1].url })]);
});

afterAll(async () => {
  for (const link of links) link.heal();
  await Promise.all(copies.map((copy) => copy.remove()));
  await Promise.all(links.map((link) => link.close()));
  await nats.remove();
});

it(
  "applies nothing twice and reports nothing wrongly, in buckets with a ttl of a second",
  async () => {
    const random = randomFrom(SEED + 23);
    const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: copies[0].url }));
    await buckets.createBucket({ name: "brief", ttl: TTL });
    await buckets.createBucket({ name: "brief-history", ttl: TTL, history: 5 });
    await buckets.createBucket({ name: "changing" });
    const stored = await StoredMessages.of(nats.url, BUCKETS);
    const writers = new LossyWriters({ urls: [copies[0].url, copies[1].url], buckets: BUCKETS, random });
    const rounds = times({ full: 150, medium: 30, short: 3 });
    for (let round = 0; round < rounds; round++) {
      const link = links[random(2) === 0 ? 0 : 1];
      // What the copy sends from here on arrives, or not; no answer comes back.
      await (random(2) === 0 ? link.loseAnswersTo("$KV.APP_") : link.loseRequest("$KV.APP_"));
      link.isDown = random(2) === 0;
      if (link.isDown) link.cut();
      // Also for longer than twice the ttl.
      await delay(random(2_500));
      link.heal();
      link.cut();
      const acknowledged = writers.acknowledged;
      await until("writes are acknowledged", () => writers.acknowledged >= acknowledged + 10);
      const change = { bucket: "changing", ttl: { seconds: round % 2 === 0 ? 1n : 0n } };
      await buckets.updateBucket(change, { timeoutMs: 5_000 }).catch(() => undefined);
    }
    await writers.finish();
    await stored.close();
    const { writes } = writers;
    const unknown = writes.filter(({ outcome }) => outcome === "unknown").length;
    const findings = { twice: twice(stored.all), wrong: wrong(writes, stored.all) };
    report(
      `answers lost ${rounds} times, ttl of a second, two copies`,
      undefined,
      `${writes.length} writes, ${writers.acknowledged} acknowledged, ${unknown} unknown`,
      `twice ${findings.twice.length}, reported wrongly ${findings.wrong.length}`,
    );
    expect(findings).toEqual({ twice: [], wrong: [] });
    expect(writers.acknowledged).toBeGreaterThan(rounds);
  },
  IS_LONG ? 900_000 : 120_000,
);

/** Writes that are stored more than once, with their sequences and times. */
function twice(messages: readonly StoredMessage[]): readonly string[] {
  const seen = new Map<string, StoredMessage[]>();
  for (const message of messages) {
    const { bucket, id } = message;
    if (id === "") continue;
    const same = seen.get(`${bucket} ${id}`) ?? [];
    seen.set(`${bucket} ${id}`, [...same, message]);
  }
  return [...seen]
    .filter(([, same]) => same.length > 1)
    .map(
      ([id, same]) =>
        `${id}: ${same.map(({ sequence, storedAt }) => `${sequence} at ${storedAt}`).join(", ")}`,
    );
}

/** Writes that were refused and are stored, or acknowledged and not stored as was said. */
function wrong(writes: readonly ToldWrite[], messages: readonly StoredMessage[]): readonly ToldWrite[] {
  const byRevision = new Map(messages.map((message) => [`${message.bucket} ${message.sequence}`, message]));
  const values = new Set(messages.filter(({ isPut }) => isPut).map(({ value }) => value));
  return writes.filter(({ bucket, value, outcome, revision }) => {
    if (outcome === "refused") return value !== undefined && values.has(value);
    // Deletes that found nothing, or do not tell their revision over REST.
    if (outcome === "unknown" || revision <= 0) return false;
    const message = byRevision.get(`${bucket} ${revision}`);
    return value === undefined ? message?.isPut !== false : message?.value !== value;
  });
}
