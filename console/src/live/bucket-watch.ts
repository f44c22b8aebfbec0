/** A watch of a bucket that resumes after interruptions. It is closed while the tab is hidden, because browsers allow few connections. */
import { Code, ConnectError } from "@connectrpc/connect";
import { WatchRequest_Start, type WatchResponse_Change } from "@ironflow-kv/client/gen";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { KeyValueClient } from "../api/clients.js";
import { detailOf, hasCode, sentenceOf } from "../api/errors.js";
import { onSignIn } from "../api/session.js";

/** Changes are handed on in batches: a busy bucket must not cost a render for each. */
const BATCH_MS = 100;
const RETRY_MS = 500;
const RETRY_MS_MAX = 5_000;
const HIDDEN_MS_MAX = 20_000;

export type WatchState =
  | { readonly kind: "connecting" | "live" | "hidden" | "away" }
  /** The service refuses the watch; it is not tried again until the user asks for it. */
  | { readonly kind: "refused"; readonly sentence: string };

export interface BucketWatchOptions {
  readonly keyValue: KeyValueClient;
  readonly bucket: string;
  readonly filters?: readonly string[];
  readonly keysOnly?: boolean;
  /** The first revision to receive. Undefined: changes from now on. */
  readonly startRevision?: bigint;
  readonly onChanges: (changes: readonly WatchResponse_Change[]) => void;
  readonly onState: (state: WatchState) => void;
  /** Changes were missed, and can't be read any more; or the bucket was deleted, and another one may have its name. */
  readonly onGap: () => void;
}

export class BucketWatch {
  private nextRevision: bigint | undefined;
  /** When the bucket was created, as the service last said: another bucket with its name has other revisions. */
  private bucketCreatedAt: Timestamp | undefined;
  private batch: WatchResponse_Change[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  private connection: AbortController | undefined;
  private wake: (() => void) | undefined;
  private isClosed = false;
  private state: WatchState = { kind: "connecting" };
  /** Whether the service said that the bucket does not exist: its revisions mean nothing for another one. */
  private isBucketGone = false;
  private readonly stopListening = onSignIn(() => this.retry());

  constructor(private readonly options: BucketWatchOptions) {
    this.nextRevision = options.startRevision;
    document.addEventListener("visibilitychange", this.onVisibility);
    void this.run();
  }

  close(): void {
    this.isClosed = true;
    this.stopListening();
    document.removeEventListener("visibilitychange", this.onVisibility);
    clearTimeout(this.timer);
    clearTimeout(this.hiddenTimer);
    this.connection?.abort();
    this.wake?.();
  }

  /** Tries again after a refusal. */
  retry(): void {
    if (this.state.kind !== "refused" || this.isClosed) return;
    if (this.isBucketGone) {
      this.isBucketGone = false;
      this.forgetBucket();
      this.options.onGap();
    }
    void this.run();
  }

  private forgetBucket(): void {
    this.nextRevision = undefined;
    this.bucketCreatedAt = undefined;
  }

  private readonly onVisibility = (): void => {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) {
      this.hiddenTimer = setTimeout(() => {
        this.setState({ kind: "hidden" });
        this.connection?.abort();
      }, HIDDEN_MS_MAX);
    } else this.wake?.();
  };

  private async run(): Promise<void> {
    let delay = RETRY_MS;
    while (!this.isClosed) {
      if (this.state.kind === "hidden" && document.hidden) {
        await this.pause(undefined);
        continue;
      }
      try {
        await this.connect(() => (delay = RETRY_MS));
      } catch (error) {
        if (this.hasEnded()) continue;
        if (hasCode(error, Code.OutOfRange)) {
          this.forgetBucket();
          this.options.onGap();
        } else if (isRefusal(error)) {
          this.isBucketGone = hasCode(error, Code.NotFound);
          this.setState({ kind: "refused", sentence: sentenceOf(error) });
          return;
        }
        // A watch that ended names the revision to resume from, unless it had sent everything.
        const revision = detailOf(error)?.revision ?? 0n;
        if (this.nextRevision === undefined && revision > 0n) this.nextRevision = revision;
      }
      if (this.hasEnded()) continue;
      this.setState({ kind: "away" });
      await this.pause(delay);
      delay = Math.min(delay * 2, RETRY_MS_MAX);
    }
  }

  /** Whether the watch was closed, here or because the tab is hidden. */
  private hasEnded(): boolean {
    return this.isClosed || this.state.kind === "hidden";
  }

  private async connect(onLive: () => void): Promise<void> {
    const { keyValue, bucket, filters = [], keysOnly = false } = this.options;
    this.setState({ kind: "connecting" });
    this.connection = new AbortController();
    const position =
      this.nextRevision === undefined
        ? { start: WatchRequest_Start.NOW }
        : {
            startRevision: this.nextRevision,
            ...(this.bucketCreatedAt === undefined ? {} : { bucketCreatedAt: this.bucketCreatedAt }),
          };
    const events = keyValue.watch(
      { bucket, filters: [...filters], keysOnly, progressInterval: { seconds: 10n }, ...position },
      {
        signal: this.connection.signal,
        onHeader: () => {
          onLive();
          this.setState({ kind: "live" });
        },
      },
    );
    for await (const { event } of events) {
      if (event.case === "change") {
        this.nextRevision = (event.value.entry?.revision ?? 0n) + 1n;
        this.add(event.value);
      } else if (event.value !== undefined) {
        this.nextRevision = event.value.revision + 1n;
        if (event.case === "snapshotEnd") this.bucketCreatedAt = event.value.bucketCreatedAt;
      }
    }
    throw new ConnectError("The watch ended.", Code.Unavailable);
  }

  private add(change: WatchResponse_Change): void {
    this.batch.push(change);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.options.onChanges(this.batch.splice(0));
    }, BATCH_MS);
  }

  private pause(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
      if (ms !== undefined) setTimeout(resolve, ms);
    });
  }

  private setState(state: WatchState): void {
    if (this.isClosed || state.kind === this.state.kind) return;
    this.state = state;
    this.options.onState(state);
  }
}

function isRefusal(error: unknown): boolean {
  return hasCode(
    error,
    Code.Unauthenticated,
    Code.PermissionDenied,
    Code.NotFound,
    Code.InvalidArgument,
    Code.ResourceExhausted,
    Code.FailedPrecondition,
    Code.Unimplemented,
  );
}
