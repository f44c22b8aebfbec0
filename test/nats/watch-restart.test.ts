/**
 * nats-server is killed and started again while writers write and watchers watch, some of which drop and resume: nothing is missed,
 * doubled or reordered, and the watches go on by themselves. EXTENDED=1 does it twenty times.
 */
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import type { WatchEvent, WatchOptions } from "../../src/kv/watch.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { TestBucket } from "./watch-bucket.js";
import { compare, type Watched, type Written } from "./watch-model.js";
import { newHubs, scope, tick } from "./watching.js";
import { IS_EXTENDED } from "../support/extended.js";
import { until } from "../support/until.js";

const KILLS = IS_EXTENDED ? 20 : 3;
const DROPS = IS_EXTENDED ? 500 : 60;
const WRITERS = 8;
const STEADY_WATCHERS = 100;
const DROPPING_WATCHERS = 20;
/** With 64, more than a key gets, every change stays readable, and nothing may be left out. */
const HISTORIES = IS_EXTENDED ? [1, 64] : [64];

let server: TestNatsServer;
let connection: NatsConnection;
let hubs: WatchHubs;

beforeAll(async () => {
  server = await startNatsServer({ syncAlways: true });
  connection = await connect({
    servers: server.url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    reconnectJitter: 100,
  });
  hubs = newHubs(connection);
});
afterAll(async () => {
  await hubs.close();
  await connection.close();
  await server.remove();
});

interface Run {
  readonly bucket: TestBucket;
  readonly written: Written[];
  clock: number;
  acknowledged: bigint;
  isWriting: boolean;
  /** Set when writing is over. */
  last: bigint | undefined;
  /** Watches that have started. */
  openedWatches: number;
  dropsLeft: number;
  /** When the server was last back, and how long the watchers that heard something since had to wait. */
  backAtMs: number | undefined;
  readonly silencesMs: number[];
}

const TITLE = `${KILLS} kills, ${DROPS} resumes, with a history of %i`;

test.each(HISTORIES)(TITLE, { timeout: 600_000 }, async (history) => {
  const bucket = await TestBucket.create(connection, `restarts-${history}`, { history });
  const run: Run = {
    bucket,
    written: [],
    clock: 0,
    acknowledged: 0n,
    isWriting: true,
    last: undefined,
    openedWatches: 0,
    dropsLeft: DROPS,
    backAtMs: undefined,
    silencesMs: [],
  };
  const watches: Promise<Watched>[] = [];
  for (let n = 0; n < STEADY_WATCHERS; n++) watches.push(watchSteadily(run, n));
  for (let n = 0; n < DROPPING_WATCHERS; n++) watches.push(watchAndDrop(run, n));
  const writers = Array.from({ length: WRITERS }, (_, writer) => write(run, writer));
  await until("all watches are open", () => run.openedWatches === watches.length);
  for (let kill = 0; kill < KILLS; kill++) {
    await tick(300 + Math.random() * 700);
    await server.stop("SIGKILL");
    await tick(Math.random() * 300);
    await server.start();
    run.backAtMs = performance.now();
    const reached = run.acknowledged + 100n;
    await until("writes are acknowledged", () => run.acknowledged >= reached);
  }
  await until("all watches were dropped and resumed", () => run.dropsLeft <= 0, { timeoutMs: 300_000 });
  run.isWriting = false;
  await Promise.all(writers);
  run.last = run.acknowledged;

  run.written.sort((left, right) => Number(left.revision - right.revision));
  const found = (await Promise.all(watches)).map((watched) => compare(run.written, watched, history));
  const total = {
    missed: found.flatMap(({ missed }) => missed),
    doubled: found.flatMap(({ doubled }) => doubled),
    reordered: found.flatMap(({ reordered }) => reordered),
    wrong: found.flatMap(({ wrong }) => wrong),
  };
  console.log(
    `history ${history}, ${KILLS} kills, ${DROPS} resumes, ${run.written.length} writes, ${watches.length} watches: missed ${total.missed.length},` +
      ` doubled ${total.doubled.length}, reordered ${total.reordered.length};` +
      ` longest silence after NATS was back ${Math.round(Math.max(...run.silencesMs))} ms`,
  );
  expect(total).toEqual({ missed: [], doubled: [], reordered: [], wrong: [] });
  expect(run.silencesMs.length).toBeGreaterThanOrEqual(KILLS);
});

/** Writes one key after the other, each a few times; a write without an answer is sent again with the same id until it has one. */
async function write(run: Run, writer: number): Promise<void> {
  for (let n = 0; run.isWriting; n++) {
    const key = `w${writer}.${Math.floor(n / 8)}`;
    const value = `${writer}-${n}`;
    const begunAt = ++run.clock;
    const revision = await put(run, key, value);
    run.written.push({ revision, key, operation: "put", value, begunAt });
    if (revision > run.acknowledged) run.acknowledged = revision;
    await tick(1);
  }
}

async function put(run: Run, key: string, value: string): Promise<bigint> {
  for (;;) {
    try {
      return await run.bucket.put(key, value, value);
    } catch {
      await tick(20);
    }
  }
}

function optionsOf(n: number): WatchOptions {
  const starts = ["now", "snapshot", "history"] as const;
  const filters = n % 2 === 0 ? [] : [`w${n % WRITERS}.*`];
  return { filters, start: starts[n % 3] ?? "now", progressIntervalMs: 100 };
}

async function watchSteadily(run: Run, n: number): Promise<Watched> {
  const options = optionsOf(n);
  const revisionBefore = run.acknowledged;
  const watcher = await hubs.watch(run.bucket.name, options, scope());
  run.openedWatches++;
  const placedAt = run.clock;
  const events: WatchEvent[] = [];
  let heardAfterMs = 0;
  for await (const event of watcher) {
    events.push(event);
    if (event.type === "change" && run.backAtMs !== undefined && run.backAtMs !== heardAfterMs) {
      heardAfterMs = run.backAtMs;
      run.silencesMs.push(performance.now() - run.backAtMs);
    }
    if (isDone(run, event)) break;
  }
  return { options, events, revisionBefore, placedAt, readUpTo: run.last ?? 0n };
}

/** Opens the watch again and again, each time from the revision after the last one seen, also while NATS is away. */
async function watchAndDrop(run: Run, n: number): Promise<Watched> {
  const first = optionsOf(n);
  const revisionBefore = run.acknowledged;
  let watcher = await hubs.watch(run.bucket.name, first, scope());
  run.openedWatches++;
  const placedAt = run.clock;
  let next = revisionBefore + 1n;
  const events: WatchEvent[] = [];
  for (let eventsLeft = 20; ; eventsLeft--) {
    const { value } = (await watcher.next()) as { value: WatchEvent };
    if (value.type === "change") next = value.entry.revision + 1n;
    if (value.type === "progress") next = value.revision + 1n;
    if (value.type !== "snapshot_end" || events.every(({ type }) => type !== "snapshot_end")) {
      if (value.type !== "snapshot_end" || first.start !== "now") events.push(value);
    }
    if (isDone(run, value)) break;
    const mayDrop = first.start === "now" || events.some(({ type }) => type === "snapshot_end");
    if (eventsLeft > 0 || run.dropsLeft <= 0 || !mayDrop) continue;
    run.dropsLeft--;
    eventsLeft = Math.floor(Math.random() * 40);
    await watcher.return();
    watcher = await open(run, { ...first, start: { revision: next } });
  }
  await watcher.return();
  return { options: first, events, revisionBefore, placedAt, readUpTo: run.last ?? 0n };
}

/** Opens a watch, for as long as it takes while NATS is away. */
async function open(run: Run, options: WatchOptions): Promise<Watcher> {
  for (;;) {
    try {
      return await hubs.watch(run.bucket.name, options, scope());
    } catch (error) {
      if (!(error instanceof KvError && error.kind === "unavailable")) throw error;
      await tick(20);
    }
  }
}

function isDone(run: Run, event: WatchEvent): boolean {
  return event.type === "progress" && run.last !== undefined && event.revision >= run.last;
}
