/**
 * One busy key in a bucket with the default history of 1, and watchers by every protocol: while nats-server is killed, and watchers drop and
 * resume, every revision is seen once and in order, or counted as superseded in the event after it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { until } from "../support/until.js";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createClient as createKvClient } from "@ironflow-kv/client";
import { BucketService, KeyValueService } from "@ironflow-kv/client/gen";
import { afterEach, beforeEach, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type Deployment, deploy, natsServerOf } from "./deployment.js";
import { IS_FULL, report, SEED, times } from "./report.js";
import { randomFrom } from "./workload.js";

const BUCKET = "busy";
const KEY = "hot";
const WRITERS = 16;
const WATCHERS_EACH = IS_FULL ? 10 : 3;
const KILLS = times({ full: 20, medium: 5, short: 2 });
const DROPS = times({ full: 100, medium: 40, short: 12 });
const TIMEOUT_MS = 600_000;

/** What a watcher is told of one change. */
interface Told {
  readonly revision: bigint;
  readonly superseded: bigint;
}

/** Opens a watch from a revision; ends when the signal aborts, or the service ends it. */
type Open = (from: bigint, signal: AbortSignal) => AsyncIterable<Told>;

let service: Deployment;
let kv: Client<typeof KeyValueService>;

beforeEach(async () => {
  service = await deploy();
  const transport = createGrpcTransport({ baseUrl: service.url });
  kv = createClient(KeyValueService, transport);
  await createClient(BucketService, transport).createBucket({ name: BUCKET });
});
afterEach(() => service.remove());

const pathOf = (from: bigint): string =>
  `${service.url}/api/v1/kv/buckets/${BUCKET}/watch?start_revision=${from}`;

async function* byGrpc(from: bigint, signal: AbortSignal): AsyncGenerator<Told> {
  for await (const { event, superseded } of kv.watch({ bucket: BUCKET, startRevision: from }, { signal }))
    if (event.case === "change") yield { revision: event.value.entry?.revision ?? 0n, superseded };
    else expect(superseded).toBe(0n);
}

async function* bySdk(from: bigint, signal: AbortSignal): AsyncGenerator<Told> {
  const bucket = createKvClient({ serverUrl: service.url }).kv().bucket(BUCKET);
  for await (const { revision, superseded } of bucket.watch(KEY, { startRevision: from, signal }))
    yield { revision, superseded: BigInt(superseded) };
}

async function* bySse(from: bigint, signal: AbortSignal): AsyncGenerator<Told> {
  // As a browser resumes.
  const headers = { accept: "text/event-stream", "last-event-id": String(from - 1n) };
  const { body } = await fetch(pathOf(1n), { headers, signal });
  let unread = "";
  const decoder = new TextDecoder();
  for await (const chunk of body ?? []) {
    unread += decoder.decode(chunk, { stream: true });
    const events = unread.split("\n\n");
    unread = events.pop() ?? "";
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (data !== undefined) yield toldBy(data);
    }
  }
}

async function* byWebSocket(from: bigint, signal: AbortSignal): AsyncGenerator<Told> {
  const socket = new WebSocket(pathOf(from).replace("http", "ws"));
  const waiting: Told[] = [];
  let wake = (): void => undefined;
  const state = { isOver: false };
  const end = (): void => {
    state.isOver = true;
    wake();
  };
  socket.on("message", (data) => {
    waiting.push(toldBy((data as Buffer).toString()));
    wake();
  });
  for (const event of ["close", "error"]) socket.on(event, end);
  signal.addEventListener("abort", end);
  try {
    while (!signal.aborted) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (state.isOver) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    socket.terminate();
  }
}

function toldBy(json: string): Told {
  const frame = JSON.parse(json) as { type: string; message?: string; revision: number; superseded?: number };
  if (frame.type !== "kv_update") throw new Error(frame.message ?? json);
  return { revision: BigInt(frame.revision), superseded: BigInt(frame.superseded ?? 0) };
}

/** What a watcher saw, judged as it comes: the revisions of one key in a bucket of its own have no gaps. */
class Watcher {
  wasDropped = false;
  last = 0n;
  readonly seen = new Set<bigint>();
  superseded = 0n;
  missed = 0n;
  doubledOrReordered = 0;
  private readonly ended = new AbortController();
  private connection = new AbortController();

  constructor(
    readonly protocol: string,
    private readonly open: Open,
  ) {}

  /** Watches, and resumes whenever the watch ends, until `stop`. */
  async run(): Promise<void> {
    while (!this.ended.signal.aborted) {
      this.connection = new AbortController();
      try {
        for await (const told of this.open(this.last + 1n, this.connection.signal)) this.take(told);
      } catch (error) {
        if (error instanceof TypeError || !this.connection.signal.aborted) await delay(20);
      }
    }
  }

  drop(): void {
    this.wasDropped = true;
    this.connection.abort();
  }

  stop(): void {
    this.ended.abort();
    this.drop();
  }

  private take({ revision, superseded }: Told): void {
    if (revision <= this.last) {
      this.doubledOrReordered++;
      return;
    }
    // More would be a count that is too high.
    const gap = revision - this.last - 1n - superseded;
    this.missed += gap < 0n ? -gap : gap;
    this.superseded += superseded;
    this.seen.add(revision);
    this.last = revision;
  }
}

it(
  `${KILLS} kills and ${DROPS} resumes leave no revision of a busy key unseen and uncounted`,
  async () => {
    const protocols: readonly (readonly [string, Open])[] = [
      ["gRPC", byGrpc],
      ["SSE", bySse],
      ["WebSocket", byWebSocket],
      ["SDK", bySdk],
    ];
    const watchers = protocols.flatMap(([protocol, open]) =>
      Array.from({ length: WATCHERS_EACH }, () => new Watcher(protocol, open)),
    );
    const watches = watchers.map((watcher) => watcher.run());
    // What is superseded before a watch is established is counted, not seen.
    const first = await kv.put({ bucket: BUCKET, key: KEY, value: Buffer.from("first") });
    await until("each watch is at the first write", () =>
      watchers.every(({ last }) => last >= first.revision),
    );
    const writing = { isOver: false, acknowledged: 0n, count: 0 };
    const acknowledged = new Set<bigint>();
    const write = async (writer: number): Promise<void> => {
      for (let n = 0; !writing.isOver; n++) {
        const value = Buffer.from(`${writer}-${n}`);
        // What has no answer may have been written: then it has a revision that nobody was told.
        const answer = await kv.put({ bucket: BUCKET, key: KEY, value }).catch(() => undefined);
        if (answer === undefined) continue;
        acknowledged.add(answer.revision);
        if (answer.revision > writing.acknowledged) writing.acknowledged = answer.revision;
      }
    };
    const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer));
    const random = randomFrom(SEED);
    const untilWritten = async (more: bigint): Promise<void> => {
      const reached = writing.acknowledged + more;
      await until(`${more} more writes are acknowledged`, () => writing.acknowledged >= reached);
    };
    for (let strike = 0; strike < KILLS; strike++) {
      await untilWritten(50n);
      for (let drop = 0; drop < Math.ceil(DROPS / KILLS); drop++) {
        watchers[random(watchers.length)]?.drop();
        await delay(random(20));
      }
      const pid = natsServerOf(service.pid);
      if (pid !== undefined) process.kill(pid, "SIGKILL");
      await untilWritten(50n);
    }
    writing.isOver = true;
    await Promise.all(writers);
    const { revision } = await kv.put({ bucket: BUCKET, key: KEY, value: Buffer.from("last") });
    await until("each watch is at the last write", () => watchers.every(({ last }) => last >= revision));
    const stayed = new Set(watchers.filter(({ wasDropped }) => !wasDropped));
    for (const watcher of watchers) watcher.stop();
    await Promise.all(watches);

    for (const [protocol] of protocols) {
      const own = watchers.filter((watcher) => watcher.protocol === protocol);
      const total = (count: (watcher: Watcher) => bigint | number): number =>
        own.reduce((sum, watcher) => sum + Number(count(watcher)), 0);
      report(
        `${KILLS} kills, ${DROPS} resumes, history 1, ${WATCHERS_EACH} watchers by ${protocol}`,
        undefined,
        `${revision} revisions, ${acknowledged.size} acknowledged`,
        `seen ${total(({ seen }) => seen.size)}, counted as superseded ${total(({ superseded }) => superseded)}`,
        `missed ${total(({ missed }) => missed)}, doubled or reordered ${total((one) => one.doubledOrReordered)}`,
      );
    }
    // One that stayed connected sees everything that this copy of the service acknowledged.
    const unseen = [...stayed].flatMap(({ seen }) => [...acknowledged].filter((one) => !seen.has(one)));
    report("acknowledged and not seen by a watcher that stayed connected", undefined, String(unseen.length));
    expect(unseen).toEqual([]);
    for (const { protocol, missed, doubledOrReordered, seen, superseded } of watchers)
      expect({ protocol, missed, doubledOrReordered, all: BigInt(seen.size) + superseded }).toEqual({
        protocol,
        missed: 0n,
        doubledOrReordered: 0,
        all: revision,
      });
  },
  TIMEOUT_MS,
);
