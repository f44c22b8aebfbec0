/**
 * Decides whether a history of calls of one key is linearizable: whether each call can be given a moment between its beginning and its
 * end so that, in the order of these moments, every answer is right.
 *
 * The search is that of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): calls are taken in the order in which
 * they began, a call that can't come next is put off, and a set of taken calls is never tried twice with the same state.
 * The state of a key is the revision of its newest write, and whether that has a value.
 */

/** What a call did or saw. Revisions are those that the service told. */
export type Effect =
  /** A write with this revision; `hasValue` is false for tombstones. */
  | { readonly type: "write"; readonly revision: number; readonly hasValue: boolean }
  /** A delete whose outcome nobody knows: it may have happened at any time after it began, or never. */
  | { readonly type: "maybe_deleted" }
  /** Found the key's newest revision to be this one. */
  | { readonly type: "saw"; readonly revision: number }
  /** Found no value. */
  | { readonly type: "saw_nothing" };

export interface Call {
  readonly effect: Effect;
  /** When it was sent and answered; Infinity where no answer ever came. */
  readonly beganMs: number;
  readonly endedMs: number;
}

interface State {
  readonly revision: number;
  readonly hasValue: boolean;
}

/** The state after a call; undefined where the call can't have been answered so in this state. */
function step(state: State, effect: Effect): State | undefined {
  switch (effect.type) {
    case "write":
      return effect.revision > state.revision ? effect : undefined;
    case "maybe_deleted":
      return { revision: state.revision, hasValue: false };
    case "saw":
      return state.hasValue && state.revision === effect.revision ? state : undefined;
    case "saw_nothing":
      return state.hasValue ? undefined : state;
  }
}

/** A place in the list of beginnings and ends. */
interface Event {
  readonly call: number;
  /** The end of this beginning; undefined in ends. */
  readonly end: Event | undefined;
  next: Event | undefined;
  previous: Event | undefined;
}

/** Whether the calls of one key, which had no entry before, are linearizable. */
export function isLinearizable(calls: readonly Call[]): boolean {
  const head = eventsOf(calls);
  const tried = new Set<string>();
  const taken: { readonly event: Event; readonly before: State }[] = [];
  let mask = 0n;
  let state: State = { revision: 0, hasValue: false };
  // Calls without an end need not be taken.
  let left = calls.filter(({ endedMs }) => endedMs !== Infinity).length;
  let event = head.next;
  while (left > 0) {
    if (event?.end !== undefined) {
      const call = calls[event.call];
      const after = call === undefined ? undefined : step(state, call.effect);
      const nextMask = mask | (1n << BigInt(event.call));
      const memory = after && `${nextMask.toString(16)} ${after.revision} ${after.hasValue}`;
      if (after !== undefined && memory !== undefined && !tried.has(memory)) {
        tried.add(memory);
        taken.push({ event, before: state });
        [mask, state] = [nextMask, after];
        if (call?.endedMs !== Infinity) left--;
        unlink(event);
        event = head.next;
      } else {
        event = event.next;
      }
      continue;
    }
    // An end came before its call could be taken: the last choice was wrong.
    const last = taken.pop();
    if (last === undefined) return false;
    state = last.before;
    mask &= ~(1n << BigInt(last.event.call));
    if (calls[last.event.call]?.endedMs !== Infinity) left++;
    relink(last.event);
    event = last.event.next;
  }
  return true;
}

/** All beginnings and ends in the order of time, behind a head. At the same moment beginnings come first: these calls overlap. */
function eventsOf(calls: readonly Call[]): Event {
  const timed = calls.flatMap(({ beganMs, endedMs }, call) => {
    const end: Event = { call, end: undefined, next: undefined, previous: undefined };
    const begin: Event = { call, end, next: undefined, previous: undefined };
    return [
      { event: begin, timeMs: beganMs, rank: 0 },
      { event: end, timeMs: endedMs, rank: 1 },
    ];
  });
  timed.sort((left, right) => left.timeMs - right.timeMs || left.rank - right.rank);
  const head: Event = { call: -1, end: undefined, next: undefined, previous: undefined };
  let last = head;
  for (const { event } of timed) {
    [last.next, event.previous] = [event, last];
    last = event;
  }
  return head;
}

function unlink(begin: Event): void {
  for (const event of [begin, begin.end]) {
    if (event?.previous !== undefined) event.previous.next = event.next;
    if (event?.next !== undefined) event.next.previous = event.previous;
  }
}

function relink(begin: Event): void {
  for (const event of [begin.end, begin]) {
    if (event?.previous !== undefined) event.previous.next = event;
    if (event?.next !== undefined) event.next.previous = event;
  }
}
