/**
 * Shares one read among concurrent callers. Every caller gets a result that was requested after its call began: callers that arrive while
 * a read is in flight share the next one.
 */
import type { CallContext } from "../../kv/call-context.js";
import { withinContext } from "./shared-work.js";
import { NoReplyError } from "./no-reply.js";

type Read<Answer> = (context: CallContext) => Promise<Answer>;

interface Round<Answer> {
  readonly answer: Promise<Answer>;
  /** Ends the read when its last caller stops waiting. Undefined: the read has not begun, and later callers may still join. */
  abort: AbortController | undefined;
  callers: number;
}

export class RequestCoalescer<Answer> {
  private readonly running = new Map<string, Round<Answer>>();
  private readonly next = new Map<string, Round<Answer>>();

  /** `timeoutMs`: the timeout of a read. Each caller also has the deadline of its own context. */
  constructor(private readonly timeoutMs: number) {}

  /** The result of the read that `key` identifies. Rejects with `NoReplyError` if the caller's context ends first. */
  get(key: string, context: CallContext, read: Read<Answer>): Promise<Answer> {
    const running = this.running.get(key);
    if (running === undefined) return join(this.begin(key, read), context);
    let next = this.next.get(key);
    if (next === undefined) {
      const begin = (): Promise<Answer> => {
        this.next.delete(key);
        return this.begin(key, read, next).answer;
      };
      next = { answer: running.answer.then(begin, begin), abort: undefined, callers: 0 };
      this.next.set(key, next);
    }
    return join(next, context);
  }

  private begin(key: string, read: Read<Answer>, queued?: Round<Answer>): Round<Answer> {
    const abort = new AbortController();
    if (queued !== undefined) queued.abort = abort;
    const context = { deadlineMs: performance.now() + this.timeoutMs, signal: abort.signal };
    const isWanted = queued === undefined || queued.callers > 0;
    const answer = isWanted ? read(context) : Promise.reject<Answer>(new NoReplyError("canceled", false));
    const round: Round<Answer> = { answer, abort, callers: 0 };
    this.running.set(key, round);
    const done = (): void => {
      if (this.running.get(key) === round) this.running.delete(key);
    };
    answer.then(done, done);
    return round;
  }
}

/** Waits for the round's result until the context ends. */
function join<Answer>(round: Round<Answer>, context: CallContext): Promise<Answer> {
  round.callers++;
  return withinContext(context, round.answer).finally(() => {
    if (--round.callers === 0) round.abort?.abort();
  });
}
