/** Finds the entries that changes replaced, in memory or in the stored history, for watches with `previous`. */
import type { Entry } from "../../kv/entry.js";
import type { StreamApi } from "../read/stream-api.js";
import { delayed } from "../feed/delay.js";
import type { Change } from "../read/delivery.js";
import { directGet, DirectRefused } from "../read/direct-get.js";
import { Semaphore } from "../feed/semaphore.js";

/** The most concurrent look-ups. */
const LOOKUPS_MAX = 64;
const RETRY_MS = 200;
/** After this many refusals, the entry counts as gone: the stream of another program may not allow direct gets. */
const REFUSALS_MAX = 10;

export class PreviousEntries {
  private readonly lookups = new Semaphore(LOOKUPS_MAX);
  /** All watchers share the look-up of a change. */
  private readonly found = new WeakMap<Change, Promise<Entry | undefined>>();
  private isStopped = false;

  /** `remembered`: returns the message of a revision if it is in memory. */
  constructor(
    private readonly api: StreamApi,
    private readonly subjectPrefix: string,
    private readonly remembered: (revision: number) => Change | undefined,
  ) {}

  /**
   * The entry before this change; undefined if there was none or it is gone. `history`: the number of revisions kept per key. While the
   * storage is unavailable, the look-up waits.
   */
  of(change: Change, history: number): Entry | undefined | Promise<Entry | undefined> {
    if (change.replaces === 0) return undefined;
    const kept = change.replaces === undefined ? undefined : this.remembered(change.replaces);
    if (kept !== undefined) return kept.entry();
    if (history === 1) return undefined;
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
    const release = await this.lookups.acquire({ onGiveUp: undefined });
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
