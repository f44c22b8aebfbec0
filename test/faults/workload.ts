/** Clients that write and read at random, and remember what they were told; and what must be true of it in the end. */
import { setTimeout as delay } from "node:timers/promises";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorDetailSchema, KeyValueService, Operation } from "@ironflow-kv/client/gen";
import { type Call, type Effect, isLinearizable } from "./linearizability.js";

export interface WorkloadOptions {
  /** The copies of the service. Each client stays with one until a call fails there. */
  readonly urls: readonly string[];
  readonly bucket: string;
  /** The revisions that the bucket keeps of each key. */
  readonly history: number;
  readonly seed: number;
  readonly writers?: number;
  readonly readers?: number;
  readonly keys?: number;
}

/** What became of a write, as its caller was told. */
type Outcome = "acknowledged" | "refused" | "unknown";

interface WriteRecord {
  readonly key: string;
  /** Undefined: a delete. */
  readonly value: string | undefined;
  readonly beganMs: number;
  endedMs: number;
  outcome: Outcome;
  revision: number;
}

interface ReadRecord {
  readonly key: string;
  readonly beganMs: number;
  readonly endedMs: number;
  /** Undefined: no value was found. */
  readonly found: { readonly revision: number; readonly value: string } | undefined;
}

export interface Findings {
  readonly operations: number;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly reads: number;
  /** Reads that show a revision below one that was acknowledged before they began. */
  readonly stale: number;
  /** Acknowledged and not there in the end. */
  readonly lost: number;
  readonly appliedTwice: number;
  /** Refused, but there; or acknowledged with another revision than it has. */
  readonly reportedWrongly: number;
  /** Keys whose history can't have happened. */
  readonly violations: number;
}

/** Buckets of the default history, and of one that keeps almost every write, so that one applied twice is seen. */
export const HISTORIES = [1, 64];
const CALL_TIMEOUT_MS = 5_000;
const PAUSE_MS = 4;
const REFUSED_PAUSE_MS = 50;
const ANSWERED_REASONS: ReadonlySet<string> = new Set(["outcome_unknown", "deadline_exceeded", "canceled"]);

export type Service = Client<typeof KeyValueService>;

export function serviceAt(url: string): Service {
  return createClient(KeyValueService, createGrpcTransport({ baseUrl: url }));
}

/** A generator of numbers that a seed repeats (Marsaglia's xorshift, 32 bits). */
export function randomFrom(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export class Workload {
  readonly writes: WriteRecord[] = [];
  readonly reads: ReadRecord[] = [];
  private readonly clients: Promise<void>[] = [];
  private readonly keys: readonly string[];
  private readonly services: readonly Service[];
  private onAcknowledged: (() => void)[] = [];
  private isOver = false;
  private count = 0;

  constructor(private readonly options: WorkloadOptions) {
    this.services = options.urls.map(serviceAt);
    this.keys = Array.from({ length: options.keys ?? 48 }, (_, index) => `key.${index}`);
    const { writers = 16, readers = 4, seed } = options;
    for (let client = 0; client < writers + readers; client++)
      this.clients.push(this.run(client, randomFrom(seed * 1_000 + client + 1), client < writers));
  }

  /** Resolves when a write that was sent after now is acknowledged; gives the milliseconds until then. */
  async untilWritten(): Promise<number> {
    const sinceMs = performance.now();
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if ((this.writes.findLast(({ outcome }) => outcome === "acknowledged")?.beganMs ?? 0) > sinceMs)
          resolve();
        else this.onAcknowledged.push(check);
      };
      this.onAcknowledged.push(check);
    });
    return performance.now() - sinceMs;
  }

  /** Ends the clients, reads everything once more, and judges. The service must be well again. */
  async finish(): Promise<Findings> {
    this.isOver = true;
    await Promise.all(this.clients);
    const service = this.services[0];
    if (service === undefined) throw new Error("no service to read from");
    const stored = new Map<string, Map<number, string | undefined>>();
    for (const key of this.keys) {
      await this.read(service, key);
      const { entries } = await service
        .getHistory({ bucket: this.options.bucket, key })
        .catch((error: unknown) => {
          if (reasonOf(error) === "key_not_found") return { entries: [] };
          throw error;
        });
      const byRevision = entries.map(({ revision, operation, value }) => {
        const text = operation === Operation.PUT ? Buffer.from(value).toString() : undefined;
        return [Number(revision), text] as const;
      });
      stored.set(key, new Map(byRevision));
    }
    return this.judge(stored);
  }

  private async run(client: number, random: (below: number) => number, isWriter: boolean): Promise<void> {
    let copy = client % this.services.length;
    while (!this.isOver) {
      const service = this.services[copy];
      const key = this.keys[random(this.keys.length)];
      if (service === undefined || key === undefined) return;
      const isWell =
        isWriter && random(10) < 8 ? await this.write(service, key, random) : await this.read(service, key);
      if (!isWell) copy = (copy + 1) % this.services.length;
      await delay(isWell ? PAUSE_MS : REFUSED_PAUSE_MS);
    }
  }

  private async write(service: Service, key: string, random: (below: number) => number): Promise<boolean> {
    const { bucket } = this.options;
    const kind = random(10);
    const value = kind === 0 ? undefined : `v${++this.count}`;
    const record: WriteRecord = {
      ...{ key, value, beganMs: performance.now(), endedMs: Infinity },
      ...{ outcome: "unknown", revision: 0 },
    };
    this.writes.push(record);
    const seen = this.reads.findLast((read) => read.key === key)?.found?.revision;
    const call = { timeoutMs: CALL_TIMEOUT_MS };
    try {
      const { revision } =
        value === undefined
          ? await service.delete({ bucket, key }, call)
          : await service.put(
              { bucket, key, value: Buffer.from(value), precondition: preconditionOf(kind, seen) },
              call,
            );
      record.revision = Number(revision);
      record.outcome = "acknowledged";
      record.endedMs = performance.now();
      for (const check of this.onAcknowledged.splice(0)) check();
      return true;
    } catch (error) {
      const reason = reasonOf(error);
      // Without a reason of ours the connection broke, and nobody knows.
      if (reason !== undefined && !ANSWERED_REASONS.has(reason)) record.outcome = "refused";
      record.endedMs = record.outcome === "refused" ? performance.now() : Infinity;
      return reason === "revision_mismatch" || reason === "key_exists";
    }
  }

  private async read(service: Service, key: string): Promise<boolean> {
    const beganMs = performance.now();
    let found: ReadRecord["found"];
    try {
      const { entry } = await service.get(
        { bucket: this.options.bucket, key },
        { timeoutMs: CALL_TIMEOUT_MS },
      );
      if (entry !== undefined)
        found = { revision: Number(entry.revision), value: Buffer.from(entry.value).toString() };
    } catch (error) {
      // A read that failed says nothing.
      if (reasonOf(error) !== "key_not_found") return false;
    }
    this.reads.push({ key, beganMs, endedMs: performance.now(), found });
    return true;
  }

  private judge(stored: ReadonlyMap<string, ReadonlyMap<number, string | undefined>>): Findings {
    /** Where each value was seen, by reads and in the end. */
    const seen = new Map<string, Set<number>>();
    const sight = (value: string | undefined, revision: number): void => {
      if (value === undefined) return;
      const at = seen.get(value) ?? new Set();
      seen.set(value, at.add(revision));
    };
    for (const { found } of this.reads) if (found !== undefined) sight(found.value, found.revision);
    for (const entries of stored.values()) for (const [revision, value] of entries) sight(value, revision);

    let [lost, reportedWrongly] = [0, 0];
    for (const { key, value, outcome, revision } of this.writes) {
      const at = value === undefined ? undefined : seen.get(value);
      if (outcome === "refused" && at !== undefined) reportedWrongly++;
      if (outcome !== "acknowledged" || revision === 0) continue;
      if (at !== undefined && !at.has(revision)) reportedWrongly++;
      const kept = stored.get(key);
      const oldest = (kept?.size ?? 0) < this.options.history ? 0 : Math.min(...(kept?.keys() ?? []));
      if (revision >= oldest && kept?.has(revision) !== true) lost++;
    }
    return {
      operations: this.writes.length + this.reads.length,
      acknowledged: this.writes.filter(({ outcome }) => outcome === "acknowledged").length,
      unknown: this.writes.filter(({ outcome }) => outcome === "unknown").length,
      reads: this.reads.length,
      stale: this.keys.reduce((sum, key) => sum + this.staleReadsOf(key), 0),
      lost,
      appliedTwice: [...seen.values()].filter(({ size }) => size > 1).length,
      reportedWrongly,
      violations: this.keys.filter((key) => !isLinearizable(this.callsOf(key, seen))).length,
    };
  }

  /** (The checker finds these too, and more; here each is counted.) */
  private staleReadsOf(key: string): number {
    const writes = this.writes
      .filter((write) => write.key === key && write.outcome === "acknowledged")
      .sort((left, right) => left.endedMs - right.endedMs);
    const reads = this.reads
      .filter((read) => read.key === key)
      .sort((left, right) => left.beganMs - right.beganMs);
    let [newest, next, stale] = [0, 0, 0];
    for (const { beganMs, found } of reads) {
      for (let write = writes[next]; write !== undefined && write.endedMs < beganMs; write = writes[++next])
        newest = Math.max(newest, write.revision);
      if (found !== undefined && found.revision < newest) stale++;
    }
    return stale;
  }

  private callsOf(key: string, seen: ReadonlyMap<string, ReadonlySet<number>>): Call[] {
    const calls: Call[] = [];
    for (const write of this.writes) {
      if (write.key !== key || write.outcome === "refused") continue;
      const effect = effectOf(write, seen);
      if (effect !== undefined) calls.push({ effect, beganMs: write.beganMs, endedMs: write.endedMs });
    }
    for (const { key: read, found, beganMs, endedMs } of this.reads) {
      if (read !== key) continue;
      const effect: Effect =
        found === undefined ? { type: "saw_nothing" } : { type: "saw", revision: found.revision };
      calls.push({ effect, beganMs, endedMs });
    }
    return calls;
  }
}

/** What a write did; undefined where it left no trace that could be judged. */
function effectOf(write: WriteRecord, seen: ReadonlyMap<string, ReadonlySet<number>>): Effect | undefined {
  const { value, outcome, revision } = write;
  if (outcome === "acknowledged") {
    // A delete of what has no value writes nothing.
    return revision === 0
      ? { type: "saw_nothing" }
      : { type: "write", revision, hasValue: value !== undefined };
  }
  if (value === undefined) return { type: "maybe_deleted" };
  const [shown] = seen.get(value) ?? [];
  return shown === undefined ? undefined : { type: "write", revision: shown, hasValue: true };
}

function preconditionOf(kind: number, seen: number | undefined): { condition: Condition } | undefined {
  if (kind === 1) return { condition: { case: "ifAbsent", value: true } };
  if (kind > 3 || seen === undefined) return undefined;
  return { condition: { case: "ifRevision", value: BigInt(seen) } };
}

type Condition =
  | { readonly case: "ifAbsent"; readonly value: boolean }
  | { readonly case: "ifRevision"; readonly value: bigint };

/** Why the service says that a call failed; undefined where it said nothing. */
export function reasonOf(error: unknown): string | undefined {
  return ConnectError.from(error).findDetails(ErrorDetailSchema)[0]?.reason;
}
