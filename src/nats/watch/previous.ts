/** Finds the entries that changes replaced, where the history still has them: for watches that ask for `previous`. */
import type { Entry } from "../../kv/store.js";
import type { StreamApi } from "../read/stream-api.js";
import { delayed } from "../feed/delay.js";
import type { Change } from "../read/delivery.js";
import { directGet, DirectRefused } from "../read/direct-get.js";
import { Slots } from "../feed/semaphore.js";

/** Look-ups under way at once. */
const LOOKUPS_MAX = 64;
const RETRY_MS = 200;
/** Refusals after which the entry is taken for gone: the stream, made by another program, does not allow direct gets. */
const REFUSALS_MAX = 10;

export class PreviousEntries {
  private readonly slots = new Slots(LOOKUPS_MAX);
  /** One look-up serves every watcher of a change. */
  private readonly found = new WeakMap<Change, Promise<Entry | undefined>>();
  private isStopped = false;

  constructor(
    private readonly api: StreamApi,
    private readonly subjectPrefix: string,
  ) {}

  /** The entry before this change; undefined where there was none or it is gone. While the storage is away, it waits. */
  of(change: Change): Promise<Entry | undefined> {
    let found = this.found.get(change);
    if (found === undefined) {
      found = this.find(change);
      this.found.set(change, found);
    }
    return found;
  }

  stop(): void {
    this.isStopped = true;
  }

  private async find({ storedKey, revision }: Change): Promise<Entry | undefined> {
    if (revision <= 1) return undefined;
    const query = { multi_last: [this.subjectPrefix + storedKey], up_to_seq: revision - 1, batch: 1 };
    const release = await this.slots.take({ onGiveUp: undefined });
    try {
      let refusals = 0;
      while (!this.isStopped && refusals < REFUSALS_MAX) {
        try {
          const { changes } = await directGet(this.api, this.subjectPrefix, query);
          return changes[0]?.entry();
        } catch (error) {
          if (error instanceof DirectRefused) refusals++;
          await delayed(RETRY_MS).over;
        }
      }
      return undefined;
    } finally {
      release?.();
    }
  }
}
