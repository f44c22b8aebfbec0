/** Reads every message that a bucket still holds in a range of sequences: what a feed did not get, or what came before it. */
import { unavailable } from "../client/errors.js";
import type { Change } from "../read/delivery.js";
import type { StreamApi } from "../read/stream-api.js";
import { Reader } from "../read/stream-reader.js";
import { delayed } from "./delay.js";
import type { Semaphore } from "./semaphore.js";

export interface RangeReaderOptions {
  readonly api: StreamApi;
  readonly subjectPrefix: string;
  /** Whether a reader may read a copy that lags behind. */
  readonly isClustered: boolean;
  /** Permits for readers, shared by all feeds. */
  readonly readerPermits: Semaphore;
}

const BATCH_MAX = 256;
/** Bytes of one pull, beside the largest message. */
const PULL_BYTES = 262_144;
/** How long until a copy that lags behind is read again. */
const LAG_RETRY_MS = 20;

/** What comes next in the range: messages, and the sequence up to which there are no others. */
export type OnBatch = (changes: readonly Change[], through: number) => Promise<void>;

/**
 * Calls `onBatch` with what is stored from `from` to `through`, in order, until `isWanted` says no. Throws where the storage does not answer.
 */
export async function readRange(
  { api, subjectPrefix, isClustered, readerPermits }: RangeReaderOptions,
  from: number,
  through: number,
  isWanted: () => boolean,
  onBatch: OnBatch,
): Promise<void> {
  const release = await readerPermits.acquire({ onGiveUp: undefined });
  let reader: Reader | undefined;
  try {
    if (!isWanted()) return;
    const bytesMax = PULL_BYTES + api.messageBytesMax;
    reader = await Reader.open(api, subjectPrefix, ">", { start: { sequence: from }, bytesMax });
    for (let last = from - 1; last < through && isWanted();) {
      const batch: Change[] = [];
      const result = await reader.pull(BATCH_MAX, (change) => batch.push(change));
      if (result === "lost") throw unavailable({ bucket: api.bucket });
      const isPast = (batch.at(-1)?.revision ?? 0) > through;
      const isEnd = isPast || (result === "end" && (await isComplete(batch.at(-1)?.revision ?? last)));
      last = isEnd ? through : (batch.at(-1)?.revision ?? last);
      if (isWanted())
        await onBatch(
          batch.filter(({ revision }) => revision <= through),
          last,
        );
      if (result === "end" && !isEnd) await delayed(LAG_RETRY_MS).over;
    }
  } finally {
    release?.();
    await reader?.close();
  }

  async function isComplete(after: number): Promise<boolean> {
    if (!isClustered || after >= through) return true;
    const next = await api.nextSequence(`${subjectPrefix}>`, after + 1);
    return next === undefined || next > through;
  }
}
