/** The writes of one bucket that wait while others are in flight: see group-commit.ts. */
import type { CallContext } from "../../kv/call-context.js";
import { JetStreamCode, JetStreamError } from "../client/errors.js";
import { RawHeaders } from "../client/messages.js";
import { type QueuedMessage, type QueuedRequest, type Requests, NoReplyError } from "../client/requests.js";
import { BATCH_MESSAGES_MIN, bytesOf, type Planned, planBatches, STAGED_MESSAGES_MIN } from "./batch-plan.js";
import type { StagedBatch } from "../embedded/batch-staging.js";
import type { StagedBatches } from "./staged-batches.js";
import type { CheckedWindow } from "./checked-window.js";
import {
  type Acknowledgement,
  acknowledgementOf,
  batchMessages,
  isUncertain,
  type Publication,
  type PublicationGroup,
} from "./publication.js";

export interface WriteQueueOptions {
  readonly requests: Requests;
  readonly window: CheckedWindow;
  /** Batches of writes that are independent of each other may be staged in memory. */
  readonly staged: StagedBatches;
  /** Creates the id of a batch. */
  readonly batchId: () => string;
  /** A batch was answered. `isRefused`: nothing of it was applied. `isStaged`: in memory. */
  readonly onBatch: (count: number, isRefused: boolean, isStaged: boolean) => void;
  /** A batch was refused, but not for a check of one of its writes. */
  readonly onFault: () => void;
}

interface Member extends Planned {
  readonly isChecked: boolean;
  isAlone: boolean;
  request: QueuedRequest;
  round: Round | undefined;
  batch: Batch | undefined;
  /** The position of its last message in the batch. */
  index: number;
}

/** The messages that are in flight. */
interface Round {
  /** How many of them have no answer yet. */
  open: number;
  hasBatch: boolean;
  sentMs: number;
}

interface Batch {
  readonly count: number;
  readonly isChecked: boolean;
  /** Whether it has several members: then each of them is sent again if it is refused. */
  readonly isShared: boolean;
  readonly staged: StagedBatch | undefined;
  /** How many of its members have no answer yet. */
  open: number;
  outcome: Acknowledgement | JetStreamError | undefined;
}

/** After this, a round without an answer (a lost answer, a slow disk) does not hold back the next one. */
const ROUND_MS_MAX = 500;
/** The refusals that a check of one message causes. */
const CHECK_CODES: ReadonlySet<number> = new Set([
  JetStreamCode.wrongLastSequence,
  JetStreamCode.wrongLastSequenceConstant,
  JetStreamCode.duplicateUnderWay,
  JetStreamCode.duplicateInBatch,
]);

export class WriteQueue {
  private waiting: Member[] = [];
  /** Members of a refused batch, which are sent alone. */
  private refused: Member[] = [];
  private round: Round | undefined;
  private isScheduled = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: WriteQueueOptions) {}

  get isIdle(): boolean {
    return this.round === undefined && this.waiting.length === 0 && this.refused.length === 0;
  }

  /** Call it when the queue is idle and not used any more. */
  close(): void {
    this.options.staged.close();
  }

  /** Publishes a group with its batch. Throws {@link JetStreamError} if it is refused, or `NoReplyError`. */
  async publish(group: PublicationGroup, context: CallContext): Promise<Acknowledgement> {
    const request = this.options.requests.queue(context);
    const member: Member = {
      group,
      request,
      isAlone: false,
      isChecked: group.some((message) => message.isChecked),
      round: undefined,
      batch: undefined,
      index: 0,
    };
    this.waiting.push(member);
    for (;;) {
      this.wake();
      try {
        const { data } = await member.request.reply;
        const outcome = this.outcome(member, data);
        if (outcome !== undefined) return outcome;
      } finally {
        this.ended(member);
      }
      // The batch was refused, and nothing of it was applied.
      member.isAlone = true;
      member.request = this.options.requests.queue(context);
      this.refused.push(member);
    }
  }

  /** The acknowledgement of a member; undefined if it was refused together with others. */
  private outcome(member: Member, data: Uint8Array): Acknowledgement | undefined {
    const { batch, index } = member;
    if (batch === undefined) return this.outcomeAlone(member, data);
    batch.outcome ??= this.batchOutcome(batch, data);
    if (batch.outcome instanceof JetStreamError) {
      if (batch.isShared) return undefined;
      throw batch.outcome;
    }
    // The sequences of a batch are consecutive; the acknowledgement has the last.
    return { sequence: batch.outcome.sequence - batch.count + 1 + index, isDuplicate: false };
  }

  private outcomeAlone({ isChecked, isAlone }: Member, data: Uint8Array): Acknowledgement {
    const { window } = this.options;
    try {
      const acknowledgement = acknowledgementOf(data);
      if (isChecked) window.accepted(1);
      return acknowledgement;
    } catch (error) {
      // The refusal of its batch counted already.
      if (isChecked && !isAlone && isCheckFailure(error)) window.refused();
      throw error;
    }
  }

  private batchOutcome(batch: Batch, data: Uint8Array): Acknowledgement | JetStreamError {
    const { window, onBatch, onFault } = this.options;
    try {
      const acknowledgement = acknowledgementOf(data);
      if (batch.isChecked) window.accepted(batch.count);
      onBatch(batch.count, false, batch.staged !== undefined);
      return acknowledgement;
    } catch (error) {
      if (!(error instanceof JetStreamError)) throw error;
      // Each write finds out whether it was applied.
      if (isUncertain(error)) throw new NoReplyError("disconnected", true);
      onBatch(batch.count, true, batch.staged !== undefined);
      if (isCheckFailure(error)) window.refused();
      else onFault();
      return error;
    }
  }

  /** Whether waiting writes stay in the queue. A few single writes may be in flight at once, but only one round with a batch. */
  private get isHeldBack(): boolean {
    const { round, isStalled } = this;
    if (round === undefined || isStalled) return false;
    return round.hasBatch || round.open + this.waiting.length + this.refused.length >= this.messagesMin;
  }

  /** The size from which on a batch takes less time than single writes. */
  private get messagesMin(): number {
    return this.options.staged.isReady ? STAGED_MESSAGES_MIN : BATCH_MESSAGES_MIN;
  }

  private get isStalled(): boolean {
    return this.round !== undefined && performance.now() - this.round.sentMs >= ROUND_MS_MAX;
  }

  /** Sends what waits with the next flush, or when the round in flight has ended. */
  private wake(): void {
    if (!this.isHeldBack) {
      this.schedule();
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.schedule();
    }, ROUND_MS_MAX).unref();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    this.options.requests.atNextFlush(() => this.sendRound());
  }

  private sendRound(): void {
    this.isScheduled = false;
    if (this.isHeldBack) {
      this.wake();
      return;
    }
    clearTimeout(this.timer);
    this.timer = undefined;
    const { requests, window } = this.options;
    const members = [...this.refused.splice(0), ...this.waiting.splice(0)].filter(({ request }) =>
      requests.isStillWanted(request),
    );
    if (members.length === 0) return;
    const batches = planBatches(members, window.limit, this.options.staged.isReady);
    if (this.isStalled) this.round = undefined;
    const round = (this.round ??= { open: 0, hasBatch: false, sentMs: 0 });
    round.open += members.length;
    round.hasBatch = batches.some((batch) => batch.some(({ group }, index) => index > 0 || group.length > 1));
    round.sentMs = performance.now();
    for (const batch of batches) this.send(batch, round);
  }

  private send(members: readonly Member[], round: Round): void {
    const count = members.reduce((sum, { group }) => sum + group.length, 0);
    const isChecked = members.some((member) => member.isChecked);
    const isShared = members.length > 1;
    const staged = count > 1 ? this.stagedFor(members) : undefined;
    const batch =
      count === 1
        ? undefined
        : { count, isChecked, isShared, staged, open: members.length, outcome: undefined };
    let end = 0;
    for (const member of members) {
      end += member.group.length;
      member.round = round;
      member.batch = batch;
      member.index = end - 1;
    }
    this.options.requests.sendTogether(
      batch === undefined
        ? members.map(singleMessage)
        : batchMessages(members, staged?.id ?? this.options.batchId()),
    );
  }

  /** The writes of one call are stored together or not at all, also in a power cut: the server stages them on disk. */
  private stagedFor(members: readonly Member[]): StagedBatch | undefined {
    if (members.some(({ group }) => group.length > 1)) return undefined;
    return this.options.staged.take(
      members.reduce((sum, { group }) => sum + bytesOf(group[0] as Publication), 0),
    );
  }

  private ended(member: Member): void {
    const { round, batch } = member;
    member.round = undefined;
    if (batch?.staged !== undefined && --batch.open === 0)
      this.options.staged.ended(batch.staged, batch.outcome !== undefined);
    if (round === undefined || --round.open > 0) return;
    if (this.round !== round) return;
    this.round = undefined;
    if (!this.isIdle) this.schedule();
  }
}

/** The message of a member that has only one. */
function singleMessage({ group, request }: Member): QueuedMessage {
  const { subject, data: payload, headerLines, answerTimeoutMs } = group.at(-1) as Publication;
  return { request, subject, payload, headers: new RawHeaders(headerLines), answerTimeoutMs };
}

function isCheckFailure(error: unknown): boolean {
  return error instanceof JetStreamError && CHECK_CODES.has(error.code);
}
