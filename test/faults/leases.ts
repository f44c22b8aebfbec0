/**
 * Processes that take one lock in turns (lease-client.mjs), and the judgement of what they saw. The times are of the monotonic clock that all
 * processes of a machine share, so holds can be compared although the clocks of the processes are wrong.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Bucket } from "@ironflow-kv/client";
import { spawn } from "../support/started.js";

const CLIENT = join(import.meta.dirname, "lease-client.mjs");
const SKEWED_CLOCK = new URL("skewed-clock.mjs", import.meta.url).href;
const LOCK = "lock";

/** How far the clock of a process is off. After each `stepMs` it steps by as much again. */
export interface Clock {
  readonly skewMs: number;
  readonly stepMs?: number;
}

/** The environment that gives a Node process a wrong clock. */
export function environmentOf({ skewMs, stepMs }: Clock): Record<string, string> {
  return {
    NODE_OPTIONS: `--import=${SKEWED_CLOCK}`,
    CLOCK_SKEW_MS: String(skewMs),
    ...(stepMs === undefined ? {} : { CLOCK_STEP_MS: String(stepMs) }),
  };
}

export interface LeaseFindings {
  readonly holds: number;
  readonly records: number;
  /** Leases that their holder lost before it released them. */
  readonly losses: number;
  /** Holds during which another client held the lock, too. */
  readonly overlaps: number;
  /** Holds whose fencing token is not above that of the hold before. */
  readonly tokensNotAbove: number;
  /** Leases that `lock` returned although they were over. */
  readonly overWhenReturned: number;
  /** Records written during a hold that the log lacks. */
  readonly recordsLost: number;
  /** Records written during a hold that follow one of a later hold. */
  readonly recordsOutOfOrder: number;
}

/** What each counts that must not happen. */
export const NO_LEASE_WRONG = {
  ...{ overlaps: 0, tokensNotAbove: 0, overWhenReturned: 0, recordsLost: 0, recordsOutOfOrder: 0 },
};

/** A line that a client prints. */
interface Line {
  readonly clockMs?: number;
  readonly token?: string;
  readonly atNs?: string;
  /** Of a record that was written while the lock was held. */
  readonly revision?: string;
  /** Whether the lock was held when `lock` returned. */
  readonly isHeld?: boolean;
  readonly ended?: "released" | "lost";
}

/** When a client was seen to hold the lock. */
interface Hold {
  readonly token: bigint;
  readonly fromNs: bigint;
  toNs: bigint;
}

export class LeaseHolders {
  private readonly processes: ChildProcess[] = [];
  private readonly holds = new Map<string, Hold>();
  /** By their revision: the tokens of records written during a hold. */
  private readonly records = new Map<bigint, bigint>();
  private readonly counts = { losses: 0, overWhenReturned: 0 };
  /** The clients that got the lock, in turn. */
  private readonly acquired: number[] = [];
  private failure: Error | undefined;
  private wake: (() => void) | undefined;
  /** How far the clocks of the clients that started were off. */
  readonly skewsMs: number[] = [];

  constructor(
    private readonly urls: readonly string[],
    private readonly bucket: Bucket,
    private readonly ttlSeconds: number,
  ) {}

  /** Starts a client of one of the services; returns its number. */
  start(clock: Clock): number {
    const client = this.processes.length;
    const url = this.urls[client % this.urls.length] ?? "";
    const args = [CLIENT, url, this.bucket.name, LOCK, String(this.ttlSeconds), String(client)];
    const child = spawn(process.execPath, args, {
      env: { PATH: process.env.PATH, ...environmentOf(clock) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.processes.push(child);
    child.once("exit", (code) => {
      if (code !== null) this.failure = new Error(`client ${client} ended with ${code}`);
      this.wake?.();
    });
    createInterface({ input: child.stdout }).on("line", (line) =>
      this.note(client, JSON.parse(line) as Line),
    );
    return client;
  }

  /** Resolves with the client, when one has got the lock since the call. */
  async untilAcquired(isOther: (client: number) => boolean = () => true): Promise<number> {
    const before = this.acquired.length;
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const client = this.acquired.slice(before).find(isOther);
      if (client !== undefined) return client;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  /** Resolves when the lock was acquired so many times. */
  async untilTaken(times: number): Promise<void> {
    for (let taken = 0; taken < times; taken++) await this.untilAcquired();
  }

  signal(client: number, signal: NodeJS.Signals): void {
    this.processes[client]?.kill(signal);
  }

  async finish(): Promise<LeaseFindings> {
    for (const child of this.processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    }
    const stored = new Map<bigint, bigint>();
    for await (const entry of this.bucket.scan({ prefix: "log." }))
      stored.set(entry.revision, BigInt(entry.text()));
    const records = [...this.records].sort(([one], [other]) => Number(one - other));
    const tokens = records.map(([, token]) => token);
    return {
      holds: this.holds.size,
      records: records.length,
      ...this.counts,
      ...judged([...this.holds.values()]),
      recordsLost: records.filter(([revision, token]) => stored.get(revision) !== token).length,
      recordsOutOfOrder: count(tokens, (token, before) => token < before),
    };
  }

  private note(client: number, { clockMs, token, atNs, revision, ...line }: Line): void {
    if (clockMs !== undefined) this.skewsMs.push(clockMs - Date.now());
    if (line.ended === "lost") this.counts.losses++;
    if (line.isHeld === false) this.counts.overWhenReturned++;
    if (token === undefined || atNs === undefined) return;
    if (revision !== undefined) this.records.set(BigInt(revision), BigInt(token));
    // Two clients with one token have two holds.
    const name = `${client} ${token}`;
    const toNs = BigInt(atNs);
    const hold = this.holds.get(name);
    if (hold !== undefined) {
      hold.toNs = toNs;
      return;
    }
    this.holds.set(name, { token: BigInt(token), fromNs: toNs, toNs });
    this.acquired.push(client);
    this.wake?.();
  }
}

/** Compares each hold with the one before it, in the order of their beginnings. */
export function judged(holds: readonly Hold[]): Pick<LeaseFindings, "overlaps" | "tokensNotAbove"> {
  const ordered = [...holds].sort((one, other) => (one.fromNs < other.fromNs ? -1 : 1));
  let heldToNs = 0n;
  let overlaps = 0;
  for (const { fromNs, toNs } of ordered) {
    if (fromNs <= heldToNs) overlaps++;
    if (toNs > heldToNs) heldToNs = toNs;
  }
  const tokens = ordered.map(({ token }) => token);
  return { overlaps, tokensNotAbove: count(tokens, (token, before) => token <= before) };
}

/** How many items are wrong after the one before. */
function count<Item>(items: readonly Item[], isWrong: (item: Item, before: Item) => boolean): number {
  return items.filter((item, index) => index > 0 && isWrong(item, items[index - 1] as Item)).length;
}
