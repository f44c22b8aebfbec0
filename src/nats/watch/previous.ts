/** Finds the entries that changes replaced, where the history still has them: for watches that ask for `previous`. */
import { createInbox, type Msg, type NatsConnection } from "@nats-io/transport-node";
import type { Entry } from "../../kv/store.js";
import { entryOf } from "../records.js";
import type { StreamApi } from "./api.js";
import type { Change } from "./delivery.js";
import { delayed } from "./delay.js";
import { Slots } from "./slots.js";

/** Look-ups under way at once. */
const LOOKUPS_MAX = 64;
const ANSWER_TIMEOUT_MS = 2_000;
const RETRY_MS = 200;

export class PreviousEntries {
  private readonly slots = new Slots(LOOKUPS_MAX);
  /** One look-up serves every watcher of a change. */
  private readonly found = new WeakMap<Change, Promise<Entry | undefined>>();
  private isStopped = false;

  constructor(
    private readonly connection: NatsConnection,
    private readonly api: StreamApi,
    private readonly subjectPrefix: string,
  ) {}

  /** The entry before this change; undefined where there was none or it is gone. While the storage is away, it waits. */
  of(change: Change): Promise<Entry | undefined> {
    let found = this.found.get(change);
    if (found === undefined) {
      found = this.find(change.storedKey, change.revision);
      this.found.set(change, found);
    }
    return found;
  }

  stop(): void {
    this.isStopped = true;
  }

  private async find(storedKey: string, before: number): Promise<Entry | undefined> {
    if (before <= 1) return undefined;
    const release = await this.slots.take({ onGiveUp: undefined });
    try {
      while (!this.isStopped) {
        try {
          return await this.lookUp(storedKey, before);
        } catch {
          await delayed(RETRY_MS).over;
        }
      }
      return undefined;
    } finally {
      release?.();
    }
  }

  /** The last message of the key before the revision: a direct get of one subject up to a sequence (ADR-31). */
  private async lookUp(storedKey: string, before: number): Promise<Entry | undefined> {
    const message = await this.ask({ multi_last: [this.subjectPrefix + storedKey], up_to_seq: before - 1 });
    const revision = message?.headers?.get("Nats-Sequence") ?? "";
    if (message === undefined || revision === "") return undefined;
    const time = message.headers?.get("Nats-Time-Stamp") ?? "";
    const fraction = /\.(\d+)/.exec(time)?.[1] ?? "";
    return entryOf({
      storedKey,
      data: message.data.slice(),
      headers: message.headers,
      revision: BigInt(revision),
      timeMs: Date.parse(time),
      timeNanos: Number(fraction.padEnd(9, "0").slice(3)),
    });
  }

  /** Only the first message of the answer matters: the entry, or a status that says there is none. */
  private ask(query: object): Promise<Msg | undefined> {
    const inbox = createInbox();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        subscription.unsubscribe();
        reject(new Error("no answer"));
      }, ANSWER_TIMEOUT_MS);
      const subscription = this.connection.subscribe(inbox, {
        max: 1,
        callback: (error, message) => {
          clearTimeout(timer);
          const code = message.headers?.code ?? 0;
          if (error !== null) reject(error);
          else if (code === 404) resolve(undefined);
          else if (code !== 0) reject(new Error(`status ${code}`));
          else resolve(message);
        },
      });
      this.connection.publish(`$JS.API.DIRECT.GET.${this.api.stream}`, JSON.stringify(query), {
        reply: inbox,
      });
    });
  }
}
