/**
 * One read for all who ask the same at once. Each caller gets an answer that was asked for after its call began, so a read that is under
 * way serves nobody who comes later: these share the next one.
 */
import type { CallScope } from "../../kv/store.js";
import { timeLeftMs, Unanswered } from "./unanswered.js";

type Ask<Answer> = (scope: CallScope) => Promise<Answer>;

interface Round<Answer> {
  readonly answer: Promise<Answer>;
  /** Ends the read when nobody waits for it any more. */
  readonly abort: AbortController;
  callers: number;
}

export class RequestCoalescer<Answer> {
  private readonly running = new Map<string, Round<Answer>>();
  private readonly next = new Map<string, Round<Answer>>();

  /** `timeoutMs`: the longest that a read may take; callers wait no longer than their own scopes allow. */
  constructor(private readonly timeoutMs: number) {}

  /** The answer to the question that `key` names. Rejects with `Unanswered` when the caller's scope ends first. */
  get(key: string, scope: CallScope, ask: Ask<Answer>): Promise<Answer> {
    const running = this.running.get(key);
    if (running === undefined) return join(this.begin(key, ask, new AbortController()), scope);
    let next = this.next.get(key);
    if (next === undefined) {
      const abort = new AbortController();
      const begin = (): Promise<Answer> => {
        this.next.delete(key);
        return this.begin(key, ask, abort, next).answer;
      };
      next = { answer: running.answer.then(begin, begin), abort, callers: 0 };
      this.next.set(key, next);
    }
    return join(next, scope);
  }

  private begin(
    key: string,
    ask: Ask<Answer>,
    abort: AbortController,
    queued?: Round<Answer>,
  ): Round<Answer> {
    const scope = { deadlineMs: performance.now() + this.timeoutMs, signal: abort.signal };
    const isWanted = queued === undefined || queued.callers > 0;
    const answer = isWanted ? ask(scope) : Promise.reject<Answer>(new Unanswered("canceled", false));
    const round = { answer, abort, callers: 0 };
    this.running.set(key, round);
    const done = (): void => {
      if (this.running.get(key) === round) this.running.delete(key);
    };
    answer.then(done, done);
    return round;
  }
}

/** Waits for the round's answer, as long as the scope allows. */
function join<Answer>(round: Round<Answer>, scope: CallScope): Promise<Answer> {
  round.callers++;
  return new Promise((resolve, reject) => {
    const { signal } = scope;
    const leave = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cancel);
      if (--round.callers === 0) round.abort.abort();
    };
    const giveUp = (reason: "deadline" | "canceled"): void => {
      leave();
      reject(new Unanswered(reason, true));
    };
    const cancel = (): void => {
      if (!isOver()) giveUp("canceled");
    };
    let over = false;
    const isOver = (): boolean => {
      const wasOver = over;
      over = true;
      return wasOver;
    };
    const timer = setTimeout(() => {
      if (!isOver()) giveUp("deadline");
    }, timeLeftMs(scope));
    signal.addEventListener("abort", cancel);
    if (signal.aborted) cancel();
    round.answer.then(
      (answer) => {
        if (isOver()) return;
        leave();
        resolve(answer);
      },
      (error: unknown) => {
        if (isOver()) return;
        leave();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
