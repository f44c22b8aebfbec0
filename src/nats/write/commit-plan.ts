/**
 * Arranges a commit as messages of one atomic batch.
 *
 * A message has at most one condition, which may be on another subject. Checks of keys that the commit does not write therefore ride on
 * writes without a condition; what is left rides on fillers, records of a subject that no key has. Fillers come first: so the last message
 * is a write, whose sequence is the commit's revision.
 */
import { COMMIT_HEADER } from "../streams/records.js";
import { EXPECTED_HEADER } from "../client/messages.js";
import { DELETE_LINE, isRollup } from "./tombstone-headers.js";
import type { CommitMessage } from "./write.js";

/** A write of a commit. */
export interface PlannedWrite {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headerLines: string;
}

/** What the newest message of a subject, which may have wildcards, must be: its sequence, 0 for none. */
export interface Expectation {
  readonly subject: string;
  readonly sequence: bigint;
}

export interface CommitPlan {
  /** At least one. */
  readonly writes: readonly PlannedWrite[];
  /** At most one for each subject. */
  readonly expectations: readonly Expectation[];
  /** What the stream's last sequence must be. Undefined: any. */
  readonly streamSequence: bigint | undefined;
  /** The subject of fillers. */
  readonly fillerSubject: string;
}

/** The last token of the subject of fillers: not the stored form of any key. */
export const FILLER_TOKEN = "=check";

const EXPECTED_SUBJECT_HEADER = "Nats-Expected-Last-Subject-Sequence-Subject";
const EXPECTED_STREAM_HEADER = "Nats-Expected-Last-Sequence";
const NO_BYTES = new Uint8Array(0);

/** The messages, in order. `lastExpected`: the sequence that the subject of the last write must have, in place of its own condition. */
export function arrange(plan: CommitPlan, lastExpected: bigint | undefined): readonly CommitMessage[] {
  const { writes, streamSequence } = plan;
  const expected = new Map(plan.expectations.map(({ subject, sequence }) => [subject, sequence]));
  const last = writes.at(-1);
  if (last !== undefined && lastExpected !== undefined) expected.set(last.subject, lastExpected);
  const written = new Set(writes.map(({ subject }) => subject));
  const riders = [...expected].filter(([subject]) => !written.has(subject));
  const free = writes.filter(({ subject }) => !expected.has(subject)).length;
  const messages: CommitMessage[] = riders
    .splice(0, Math.max(0, riders.length - free))
    .map(([subject, sequence]) => filler(plan.fillerSubject, subject, sequence));
  for (const [index, { subject, data, headerLines }] of writes.entries()) {
    const own = expected.get(subject);
    const [checkedSubject, sequence] = own === undefined ? (riders.shift() ?? []) : [undefined, own];
    const following = writes.length - 1 - index;
    messages.push({
      ...{ subject, data, checkedSubject },
      headerLines: `${conditionLines(sequence, checkedSubject)}${COMMIT_HEADER}: ${following}\r\n${headerLines}`,
      isRollup: isRollup(headerLines),
      isChecked: sequence !== undefined,
    });
  }
  const [first, ...others] = messages;
  if (first === undefined || streamSequence === undefined) return messages;
  const headerLines = `${EXPECTED_STREAM_HEADER}: ${streamSequence}\r\n${first.headerLines}`;
  return [{ ...first, headerLines, isChecked: true }, ...others];
}

function filler(subject: string, checkedSubject: string, sequence: bigint): CommitMessage {
  return {
    ...{ subject, checkedSubject, data: NO_BYTES },
    headerLines: conditionLines(sequence, checkedSubject) + DELETE_LINE,
    isRollup: false,
    isChecked: true,
  };
}

function conditionLines(sequence: bigint | undefined, subject: string | undefined): string {
  if (sequence === undefined) return "";
  const other = subject === undefined ? "" : `${EXPECTED_SUBJECT_HEADER}: ${subject}\r\n`;
  return `${EXPECTED_HEADER}: ${sequence}\r\n${other}`;
}
