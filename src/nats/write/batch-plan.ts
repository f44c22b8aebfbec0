/** Divides waiting writes into atomic batches. */
import type { Publication, PublicationGroup } from "./publication.js";

/** The limits of nats-server (`streamDefaultMaxAtomicBatchSize`) and of the memory that it holds a batch in. */
export const BATCH_MESSAGES_MAX = 1_000;
export const BATCH_BYTES_MAX = 8 * 1_048_576;
/**
 * Fewer writes are sent alone: a single server stages a batch in new files (`newBatchStore`), and syncs six times for it, which took as long
 * as a dozen single writes (nats-server 2.15.1, ext4).
 */
export const BATCH_MESSAGES_MIN = 24;
/** The same for a batch that is staged in memory. */
export const STAGED_MESSAGES_MIN = 8;
/** At most, the bytes of a message besides its subject, value and headers: framing and the batch's headers. */
const MESSAGE_OVERHEAD_BYTES = 256;

export interface Planned {
  readonly group: PublicationGroup;
  /** Whether it must not be in a batch with others. */
  readonly isAlone: boolean;
}

interface Batch<Member> {
  readonly members: Member[];
  readonly isChecked: boolean;
  count: number;
  bytes: number;
}

/**
 * The batches, in the order to send them in; one of a single message is no batch. Writes of a key keep their order, and the messages of a
 * group stay together. A batch has either only groups with checks, at most `checkedMax` messages, or only others, which therefore are not
 * refused with them. Where batches may be staged in memory (`isStaged`), a group of several messages, which may not, does not share one
 * with single messages. The server refuses a check on a subject that an earlier message of the batch wrote, and a roll-up of one
 * (`checkMsgHeadersPreClusteredProposal`), and does not see such a write in a check on a subject with wildcards: such a group gets a batch
 * of its own.
 */
export function planBatches<Member extends Planned>(
  members: readonly Member[],
  checkedMax: number,
  isStaged: boolean,
): readonly (readonly Member[])[] {
  const batches: Batch<Member>[] = [];
  const messagesMin = isStaged ? STAGED_MESSAGES_MIN : BATCH_MESSAGES_MIN;
  /** The batch that takes further members, of each kind. */
  const open = { checked: -1, unchecked: -1, checkedTogether: -1, uncheckedTogether: -1 };
  /** The last batch that writes a subject. */
  const lastOf = new Map<string, number>();
  for (const member of members) {
    const { group } = member;
    const isChecked = group.some((message) => message.isChecked);
    const kind =
      `${isChecked ? "checked" : "unchecked"}${isStaged && group.length > 1 ? "Together" : ""}` as const;
    const first = firstBatch(group, lastOf);
    const bytes = group.reduce((sum, message) => sum + bytesOf(message), 0);
    const countMax = isChecked ? Math.min(checkedMax, BATCH_MESSAGES_MAX) : BATCH_MESSAGES_MAX;
    const isAlone = member.isAlone || group.some(hasWildcardCheck);
    let index = open[kind];
    const batch = batches[index];
    const isFull =
      batch === undefined || batch.count + group.length > countMax || batch.bytes + bytes > BATCH_BYTES_MAX;
    if (isAlone || isFull || index < first) {
      index = batches.push({ members: [], isChecked, count: 0, bytes: 0 }) - 1;
      // A batch that only one subject needs stays closed, so that the others do not spread over many.
      if (!isAlone && isFull) open[kind] = index;
    }
    const chosen = batches[index] as Batch<Member>;
    chosen.members.push(member);
    chosen.count += group.length;
    chosen.bytes += bytes;
    for (const { subject } of group) lastOf.set(subject, index);
  }
  return batches.flatMap(({ members: together, count }) =>
    count < messagesMin && count === together.length ? together.map((member) => [member]) : [together],
  );
}

/** The first batch that may hold the group. */
function firstBatch(group: PublicationGroup, lastOf: ReadonlyMap<string, number>): number {
  let first = 0;
  for (const { subject, isChecked, isRollup, checkedSubject } of group) {
    const last = lastOf.get(subject);
    const isExclusive = isRollup || (isChecked && checkedSubject === undefined);
    if (last !== undefined) first = Math.max(first, isExclusive ? last + 1 : last);
    const checked = checkedSubject === undefined ? undefined : lastOf.get(checkedSubject);
    if (checked !== undefined) first = Math.max(first, checked + 1);
  }
  return first;
}

function hasWildcardCheck({ checkedSubject }: Publication): boolean {
  return checkedSubject !== undefined && /[*>]/.test(checkedSubject);
}

/** The bytes of a message in a batch, at most. */
export function bytesOf({ subject, data, headerLines }: Publication): number {
  return subject.length + data.length + headerLines.length + MESSAGE_OVERHEAD_BYTES;
}
