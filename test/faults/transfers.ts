/**
 * Transfers between accounts, each one commit: checks of both accounts, their new balances, and a record of what was read and written. The
 * records that are stored are therefore exactly the transfers that were applied, in the order of their revisions.
 */
import { type Bucket, createClient, KvConflictError, KvError } from "@ironflow-kv/client";

export const ACCOUNTS = ["account.a", "account.b", "account.c"];
const START_BALANCE = 100;

interface Transfer {
  readonly from: string;
  readonly to: string;
  /** The balances that it read, before it. */
  readonly before: readonly [number, number];
  readonly amount: number;
}

/** The balances that a reader saw. */
interface Seen {
  readonly revision: bigint;
  readonly balances: readonly number[];
}

export interface TransferFindings {
  readonly acknowledged: number;
  readonly applied: number;
  readonly reads: number;
  /** Acknowledged transfers without a record, or with another revision than the answer said. */
  readonly lost: number;
  /** Transfers that read other balances than those that the transfers before them left. */
  readonly notSerializable: number;
  /** Reads whose balances are not those at their revision. */
  readonly wrongReads: number;
  readonly sum: number;
}

/** What each counts that must not happen. */
export const NO_TRANSFER_WRONG = { lost: 0, notSerializable: 0, wrongReads: 0 };

export class Transfers {
  /** By the key of their record: the revision of the commit. */
  private readonly acknowledged = new Map<string, bigint>();
  private readonly seen: Seen[] = [];
  private readonly running: Promise<void>[];
  private isOver = false;
  private wake: (() => void) | undefined;

  private constructor(private readonly buckets: readonly Bucket[]) {
    this.running = [
      ...Array.from({ length: 6 }, (_, client) => this.transfer(client)),
      ...Array.from({ length: 2 }, (_, client) => this.read(this.bucketOf(client))),
    ];
  }

  /** Opens the accounts. The clients spread over the services. */
  static async start(urls: readonly string[], bucket: string): Promise<Transfers> {
    const buckets = urls.map((serverUrl) =>
      createClient({ serverUrl, timeoutMs: 8_000 }).kv().bucket(bucket),
    );
    const opening = (buckets[0] as Bucket).atomic();
    for (const account of ACCOUNTS) opening.put(account, START_BALANCE);
    await opening.commit();
    return new Transfers(buckets);
  }

  /** Resolves when so many more transfers were acknowledged. */
  async untilTransferred(count = 40): Promise<void> {
    const wanted = this.acknowledged.size + count;
    while (this.acknowledged.size < wanted) await new Promise<void>((resolve) => (this.wake = resolve));
  }

  async finish(): Promise<TransferFindings> {
    this.isOver = true;
    await Promise.all(this.running);
    const bucket = this.bucketOf(0);
    const records = new Map<bigint, Transfer>();
    let lost = 0;
    const unseen = new Map(this.acknowledged);
    for await (const entry of bucket.scan({ prefix: "record." })) {
      records.set(entry.revision, entry.json<Transfer>());
      const revision = unseen.get(entry.key);
      if (revision !== undefined && revision !== entry.revision) lost++;
      unseen.delete(entry.key);
    }
    const ordered = [...records].sort(([one], [other]) => Number(one - other));
    const { entries } = await bucket.getMany(ACCOUNTS);
    return {
      acknowledged: this.acknowledged.size,
      applied: records.size,
      reads: this.seen.length,
      lost: lost + unseen.size,
      ...this.replay(ordered),
      sum: entries.reduce((sum, entry) => sum + Number(entry?.text()), 0),
    };
  }

  /** Applies the transfers one after the other, and compares what each of them, and each reader, saw. */
  private replay(records: readonly (readonly [bigint, Transfer])[]) {
    const balances = new Map(ACCOUNTS.map((account) => [account, START_BALANCE]));
    const reads = [...this.seen].sort((one, other) => Number(one.revision - other.revision));
    let notSerializable = 0;
    let wrongReads = 0;
    const checkReads = (before: bigint | undefined): void => {
      while (reads[0] !== undefined && (before === undefined || reads[0].revision < before)) {
        const { balances: seen = [] } = reads.shift() ?? {};
        if (ACCOUNTS.some((account, index) => seen[index] !== balances.get(account))) wrongReads++;
      }
    };
    for (const [revision, { from, to, before, amount }] of records) {
      checkReads(revision);
      if (balances.get(from) !== before[0] || balances.get(to) !== before[1]) notSerializable++;
      balances.set(from, before[0] - amount);
      balances.set(to, before[1] + amount);
    }
    checkReads(undefined);
    return { notSerializable, wrongReads };
  }

  private async transfer(client: number): Promise<void> {
    const bucket = this.bucketOf(client);
    for (let step = 0; !this.isOver; step++) {
      const from = ACCOUNTS[(client + step) % ACCOUNTS.length] as string;
      const to = ACCOUNTS[(client + step + 1 + (step % 2)) % ACCOUNTS.length] as string;
      const key = `record.${client}.${step}`;
      await this.unlessInterrupted(async () => {
        const { entries } = await bucket.getMany([from, to]);
        const [source, target] = entries;
        if (source === undefined || target === undefined) throw new Error("an account is gone");
        const before = [Number(source.text()), Number(target.text())] as const;
        const amount = 1 + (step % 5);
        const { revision } = await bucket
          .atomic()
          .put(from, before[0] - amount, { ifRevision: source.revision })
          .put(to, before[1] + amount, { ifRevision: target.revision })
          .put(key, { from, to, before, amount } satisfies Transfer, { ifAbsent: true })
          .commit();
        this.acknowledged.set(key, revision);
        this.wake?.();
      });
    }
  }

  private async read(bucket: Bucket): Promise<void> {
    while (!this.isOver) {
      await this.unlessInterrupted(async () => {
        const { entries, revision } = await bucket.getMany(ACCOUNTS);
        this.seen.push({ revision, balances: entries.map((entry) => Number(entry?.text())) });
      });
    }
  }

  /** Conflicts, and calls that a kill interrupts, are part of the workload. */
  private async unlessInterrupted(call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (error instanceof KvConflictError) return;
      if (error instanceof KvError && INTERRUPTED.has(error.code)) return;
      throw error;
    }
  }

  private bucketOf(client: number): Bucket {
    return this.buckets[client % this.buckets.length] as Bucket;
  }
}

const INTERRUPTED: ReadonlySet<string> = new Set(["unavailable", "deadline_exceeded", "unknown", "aborted"]);
