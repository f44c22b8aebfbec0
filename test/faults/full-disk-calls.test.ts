/**
 * A disk that another program fills under every kind of write, with one and with two workers: what was acknowledged is there once, what was refused
 * is not, and all of it goes on when there is room.
 */
import { join } from "node:path";
import { kill } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  Access,
  ApiKeyService,
  BackupService,
  BucketService,
  KeyValueService,
  Operation,
} from "@ironflow-kv/client/gen";
import { needsServer } from "../support/nats-program.js";
import { succeeds, until } from "../support/until.js";
import { type Deployment, deploy, isAlive } from "./deployment.js";
import { IS_LONG, report, times } from "./report.js";
import { canMount, mountSmallDisk, type SmallDisk } from "./small-disk.js";
import { reasonOf } from "./workload.js";

const MIB = 1_048_576;
const DISK_BYTES = 64 * MIB;
/** A tenth, as DISK_RESERVE_BYTES is more than that. */
const RESERVE_BYTES = Math.floor(DISK_BYTES / 10);
const ROOM_BYTES = 16 * MIB;
const VALUE_BYTES = 128 * 1_024;
const WRITERS = 8;
const IMPORTED_AT_ONCE = 8;
const CYCLES = times({ full: 6, medium: 3, short: 1 });
const ROOT_KEY = "the-root-key-of-tests";

type Outcome = "acknowledged" | "refused" | "unknown";
/** Of calls that were not carried out. */
const REFUSALS: ReadonlySet<string | undefined> = new Set([
  "storage_exhausted",
  "unavailable",
  "revision_mismatch",
]);
/** Of calls that may have been; undefined: the connection ended. */
const UNKNOWN: ReadonlySet<string | undefined> = new Set([
  "outcome_unknown",
  "deadline_exceeded",
  "shutting_down",
  undefined,
]);

let disk: SmallDisk;
let service: Deployment;

const withKey: Interceptor = (next) => (request) => {
  request.header.set("authorization", `Bearer ${ROOT_KEY}`);
  return next(request);
};
/** On a connection of its own: with two workers, some reach the one and some the other. */
const transport = (): ReturnType<typeof createGrpcTransport> =>
  createGrpcTransport({ baseUrl: service.url, interceptors: [withKey] });
const keysAt = (): Client<typeof KeyValueService> => createClient(KeyValueService, transport());

async function outcomeOf(call: Promise<unknown>): Promise<Outcome> {
  try {
    await call;
    return "acknowledged";
  } catch (error) {
    const reason = reasonOf(error);
    if (REFUSALS.has(reason)) return "refused";
    if (!UNKNOWN.has(reason)) throw error;
    return "unknown";
  }
}

/** Every kind of write at once, each of a name of its own, until it is over. */
class Writes {
  readonly puts = new Map<string, Outcome>();
  readonly imports = new Map<string, Outcome>();
  readonly apiKeys = new Map<string, Outcome>();
  readonly compactions: Outcome[] = [];
  private isOver = false;
  private readonly ended: Promise<unknown>;

  constructor(private readonly cycle: number) {
    this.ended = Promise.all([
      ...Array.from({ length: WRITERS }, (_, writer) => this.put(writer)),
      this.import(),
      this.createApiKeys(),
      this.compact(),
    ]);
  }

  get acknowledged(): number {
    return [...this.puts.values()].filter((outcome) => outcome === "acknowledged").length;
  }

  get refused(): number {
    return [...this.puts.values()].filter((outcome) => outcome === "refused").length;
  }

  async end(): Promise<void> {
    this.isOver = true;
    await this.ended;
  }

  private async put(writer: number): Promise<void> {
    const keys = keysAt();
    for (let count = 0; !this.isOver; count++) {
      const key = `put-${this.cycle}-${writer}-${count}`;
      const value = Buffer.alloc(VALUE_BYTES, key);
      const outcome = await outcomeOf(keys.put({ bucket: "b", key, value, idempotencyKey: key }));
      this.puts.set(key, outcome);
      if (outcome === "acknowledged" && count % 8 === 7)
        await keys.delete({ bucket: "b", key }).catch(() => undefined);
      if (outcome === "acknowledged" && count % 8 === 7) this.puts.delete(key);
      if (outcome !== "acknowledged") await delay(10);
    }
  }

  private async import(): Promise<void> {
    const [backup, buckets] = [
      createClient(BackupService, transport()),
      createClient(BucketService, transport()),
    ];
    for (let count = 0; !this.isOver; count++) {
      const names = Array.from({ length: IMPORTED_AT_ONCE }, (_, n) => `import-${this.cycle}-${count}-${n}`);
      const entries = names.map((key) => ({
        key,
        value: Buffer.alloc(1_024, key),
        operation: Operation.PUT,
      }));
      const revision = await buckets.getBucket({ bucket: "imported" }).then(
        ({ bucket }) => bucket?.revision,
        () => undefined,
      );
      if (revision === undefined) continue;
      const outcome = await outcomeOf(
        backup.importEntries({ bucket: "imported", afterRevision: revision, entries }),
      );
      for (const key of names) this.imports.set(key, outcome);
      if (outcome !== "acknowledged") await delay(10);
    }
  }

  private async createApiKeys(): Promise<void> {
    const apiKeys = createClient(ApiKeyService, transport());
    for (let count = 0; !this.isOver; count++) {
      const name = `key-${this.cycle}-${count}`;
      const scopes = [{ accesses: [Access.READ], buckets: "b" }];
      this.apiKeys.set(name, await outcomeOf(apiKeys.createApiKey({ name, scopes })));
      await delay(10);
    }
  }

  private async compact(): Promise<void> {
    const buckets = createClient(BucketService, transport());
    while (!this.isOver) {
      this.compactions.push(await outcomeOf(buckets.compactBucket({ bucket: "b" })));
      await delay(10);
    }
  }
}

interface Verdict {
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  readonly refusedAndStored: readonly string[];
}

/** Compares what was answered with what is stored. */
async function verdictOf(writes: Writes): Promise<Verdict> {
  const keys = keysAt();
  const stored = async (bucket: string, key: string): Promise<number> =>
    keys.getHistory({ bucket, key }).then(
      ({ entries }) => entries.length,
      (error: unknown) => {
        if (reasonOf(error) === "key_not_found") return 0;
        throw error;
      },
    );
  const names: string[] = [];
  const apiKeys = createClient(ApiKeyService, transport());
  for (let pageToken = ""; ;) {
    const page = await apiKeys.listApiKeys({ pageToken });
    names.push(...page.apiKeys.map(({ name }) => name));
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  const found: [string, Outcome, number][] = [];
  for (const [key, outcome] of writes.puts) found.push([key, outcome, await stored("b", key)]);
  for (const [key, outcome] of writes.imports) found.push([key, outcome, await stored("imported", key)]);
  for (const [name, outcome] of writes.apiKeys)
    found.push([name, outcome, names.filter((one) => one === name).length]);
  const namesOf = (isWrong: (outcome: Outcome, count: number) => boolean): string[] =>
    found.filter(([, outcome, count]) => isWrong(outcome, count)).map(([name]) => name);
  return {
    lost: namesOf((outcome, count) => outcome === "acknowledged" && count === 0),
    doubled: namesOf((_outcome, count) => count > 1),
    refusedAndStored: namesOf((outcome, count) => outcome === "refused" && count > 0),
  };
}

const NOTHING: Verdict = { lost: [], doubled: [], refusedAndStored: [] };
const countOf = (outcomes: Iterable<Outcome>, wanted: Outcome): number =>
  [...outcomes].filter((outcome) => outcome === wanted).length;

describe.skipIf(!canMount() || needsServer("2.15.1").skip).each(IS_LONG ? [1, 2] : [2])(
  "with WORKERS=%i, a full disk",
  (workers) => {
    beforeEach(async () => {
      disk = mountSmallDisk(DISK_BYTES);
      service = await deploy({
        ...{ DATA_DIR: join(disk.folder, "data"), DURABILITY: "relaxed" },
        ...{ WORKERS: String(workers), IRONFLOW_API_KEY: ROOT_KEY },
      });
      const buckets = createClient(BucketService, transport());
      for (const name of ["b", "imported"]) await buckets.createBucket({ name, history: 5 });
    });
    afterEach(async () => {
      await service.remove();
      disk.remove();
    });

    async function emptied(): Promise<void> {
      const buckets = createClient(BucketService, transport());
      for (const name of ["b", "imported"]) {
        await until(`${name} is deleted`, () => succeeds(buckets.deleteBucket({ bucket: name })));
        await until(`${name} is created`, () => succeeds(buckets.createBucket({ name, history: 5 })));
      }
    }

    it("under puts, imports, new API keys and compactions: nothing lost, doubled, or refused and stored", async () => {
      for (let cycle = 0; cycle < CYCLES; cycle++) {
        disk.occupy(disk.freeBytes() - RESERVE_BYTES - ROOM_BYTES);
        const writes = new Writes(cycle);
        await until("values are acknowledged", () => writes.acknowledged >= 2 * WRITERS);
        disk.occupy();
        await until("values are refused", () => writes.refused >= 2 * WRITERS);
        disk.vacate();
        const before = writes.acknowledged;
        await until("values are accepted again", () => writes.acknowledged > before + WRITERS);
        await writes.end();
        const verdict = await verdictOf(writes);
        const outcomes = [...writes.puts.values(), ...writes.imports.values(), ...writes.apiKeys.values()];
        report(
          `full disk, ${workers} workers, cycle ${cycle}`,
          undefined,
          `${countOf(outcomes, "acknowledged")} acknowledged, ${countOf(outcomes, "refused")} refused, ${countOf(outcomes, "unknown")} unknown`,
          `of them API keys: ${countOf(writes.apiKeys.values(), "acknowledged")} and ${countOf(writes.apiKeys.values(), "refused")}; compactions: ${countOf(writes.compactions, "acknowledged")} of ${writes.compactions.length}`,
          `lost ${verdict.lost.length}, doubled ${verdict.doubled.length}, refused and stored ${verdict.refusedAndStored.length}`,
        );
        expect(verdict).toEqual(NOTHING);
        await emptied();
      }
    }, 600_000);

    it("takes a SIGTERM while it is being filled: the service ends, and has what it acknowledged when it is back", async () => {
      disk.occupy(disk.freeBytes() - RESERVE_BYTES - ROOM_BYTES);
      const writes = new Writes(0);
      await until("values are acknowledged", () => writes.acknowledged >= WRITERS);
      disk.occupy();
      await until("values are refused", () => writes.refused > 0);
      const { pid } = service;
      kill(pid, "SIGTERM");
      await until("the service has ended", () => !isAlive(pid));
      const ended = writes.end();
      disk.vacate();
      service.start();
      await service.ready();
      await ended;
      expect(await verdictOf(writes)).toEqual(NOTHING);
      await keysAt().put({ bucket: "b", key: "again", value: Buffer.from("x") });
    }, 240_000);
  },
);
