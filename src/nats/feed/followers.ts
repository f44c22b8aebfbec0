/** The followers of one feed. */
import type { CallContext } from "../../kv/call-context.js";
import type { Change } from "../read/delivery.js";
import type { StreamState } from "../read/stream-api.js";
import type { FeedEnd, FeedFollower, FeedStats, Following, LostRevisions } from "./bucket-feed.js";
import type { RecentChanges, ReplayVisitor } from "./recent-changes.js";
import type { LastSeen } from "./rollback.js";

/** What a follower's place needs of its feed. */
export interface FollowedFeed {
  readonly position: number;
  readonly origin: StreamState;
  readonly at: { readonly lastSeen: LastSeen };
  readonly recent: RecentChanges;
  waitFor(sequence: number, context: CallContext): Promise<void>;
  check(): Promise<void>;
  recall(sequence: number): Promise<void>;
  stats(): FeedStats;
}

class Member implements Following {
  readonly startsAfter: number;

  constructor(
    readonly follower: FeedFollower,
    private readonly feed: FollowedFeed,
    private readonly onStop: (member: Member) => void,
  ) {
    this.startsAfter = feed.position;
  }

  get position(): number {
    return this.feed.position;
  }
  get origin(): StreamState {
    return this.feed.origin;
  }

  get lastSeen(): LastSeen {
    return this.feed.at.lastSeen;
  }

  appliedThrough(sequence: number, context: CallContext): Promise<void> {
    return this.feed.position >= sequence ? Promise.resolve() : this.feed.waitFor(sequence, context);
  }

  remembers(sequence: number): boolean {
    return sequence >= this.feed.recent.floor;
  }

  replay(after: number, visitor: ReplayVisitor): boolean {
    return this.feed.recent.after(after, visitor);
  }

  recall(sequence: number): Promise<void> {
    return this.feed.recall(sequence);
  }

  remembered(sequence: number): Change | undefined {
    return this.feed.recent.at(sequence);
  }

  check(): Promise<void> {
    return this.feed.check();
  }

  stats(): FeedStats {
    return this.feed.stats();
  }

  stop(): void {
    this.onStop(this);
  }
}

export class Followers {
  private readonly members = new Set<Member>();

  /** `onFault`: a follower threw, and is none any more. `onIdle`: the last one is gone. */
  constructor(
    private readonly onFault: (follower: FeedFollower, error: unknown) => void,
    private readonly onIdle: () => void,
  ) {}

  get size(): number {
    return this.members.size;
  }

  add(follower: FeedFollower, feed: FollowedFeed): Following {
    const member = new Member(follower, feed, (left) => this.remove(left));
    this.members.add(member);
    return member;
  }

  change(change: Change): void {
    this.each((member) => {
      // One that came while this change is given out has it already.
      if (member.startsAfter < change.revision) member.follower.change(change);
    });
  }

  lost(lost: LostRevisions): void {
    this.each((member) => {
      if (member.startsAfter < lost.through) member.follower.lost(lost);
    });
  }

  checked(state: StreamState): void {
    this.each((member) => member.follower.checked?.(state));
  }

  ended(end: FeedEnd): void {
    this.each((member) => member.follower.ended(end));
    this.members.clear();
  }

  private each(call: (member: Member) => void): void {
    for (const member of this.members) {
      try {
        call(member);
      } catch (error) {
        this.remove(member);
        this.onFault(member.follower, error);
      }
    }
  }

  private remove(member: Member): void {
    if (this.members.delete(member) && this.members.size === 0) this.onIdle();
  }
}
