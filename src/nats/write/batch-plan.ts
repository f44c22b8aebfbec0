/** Divides waiting writes into atomic batches. */
import type { Publication } from "./publication.js";

/** The limits of nats-server (`streamDefaultMaxAtomicBatchSize`) and of the memory that it holds a batch in. */
export const BATCH_MESSAGES_MAX = 1_000;
export const BATCH_BYTES_MAX = 8 * 1_048_576;
/**
 * Fewer writes are sent alone: a single server stages a batch in new files (`newBatchStore`), and syncs six times for it, which took as long
 * as a dozen single writes (nats-server 2.15.1, ext4).
 */
export const BATCH_MESSAGES_MIN = 24;
/** At most, the bytes of a message besides its subject, value and headers: framing and the batch's headers. */
const MESSAGE_OVERHEAD_BYTES = 256;

export interface Planned {
  readonly message: Publication;
  /** Whether it must not be in a batch with others. */
  readonly isAlone: boolean;
}

interface Batch<Member> {
  readonly members: Member[];
  readonly isChecked: boolean;
  bytes: number;
}

/**
 * The batches, in the order to send them in; one of a single write is no batch. Writes of a key keep their order. A batch has either only checked writes, at most `checkedMax`,
 * or only others, which therefore are not refused with them. The server refuses a check on a subject that an earlier message of the batch
 * wrote, and a roll-up of one (`checkMsgHeadersPreClusteredProposal`): such a write gets a batch of its own.
 */
export function planBatches<Member extends Planned>(
  members: readonly Member[],
  checkedMax: number,
): readonly (readonly Member[])[] {
  const batches: Batch<Member>[] = [];
  /** The batch that takes further members, of each kind. */
  const open = { checked: -1, unchecked: -1 };
  /** The last batch of each subject. */
  const lastOf = new Map<string, number>();
  for (const member of members) {
    const { subject, isChecked, isRollup } = member.message;
    const kind = isChecked ? "checked" : "unchecked";
    const last = lastOf.get(subject);
    const isExclusive = isChecked || isRollup;
    const first = last === undefined ? 0 : isExclusive ? last + 1 : last;
    const bytes = bytesOf(member.message);
    const countMax = isChecked ? Math.min(checkedMax, BATCH_MESSAGES_MAX) : BATCH_MESSAGES_MAX;
    let index = open[kind];
    const batch = batches[index];
    const isFull =
      batch === undefined || batch.members.length >= countMax || batch.bytes + bytes > BATCH_BYTES_MAX;
    if (member.isAlone || isFull || index < first) {
      index = batches.push({ members: [], isChecked, bytes: 0 }) - 1;
      // A batch that only one subject needs stays closed, so that the others do not spread over many.
      if (!member.isAlone && isFull) open[kind] = index;
    }
    const chosen = batches[index] as Batch<Member>;
    chosen.members.push(member);
    chosen.bytes += bytes;
    lastOf.set(subject, index);
  }
  return batches.flatMap(({ members: together }) =>
    together.length < BATCH_MESSAGES_MIN ? together.map((member) => [member]) : [together],
  );
}

function bytesOf({ subject, data, headerLines }: Publication): number {
  return subject.length + data.length + headerLines.length + MESSAGE_OVERHEAD_BYTES;
}
