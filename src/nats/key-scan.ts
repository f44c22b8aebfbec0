/**
 * Which keys of a bucket are live: a scan of the newest message of each, without values.
 *
 * The consumer that does it is ephemeral and deleted at once (a client's iterators leave theirs for minutes). JetStream sends as
 * fast as we read, held back by its flow control. The scan shows the bucket at one moment: when the server had nothing more to send.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createInbox, type Msg, nuid } from "@nats-io/transport-node";
import type { CallScope, Consistency } from "../kv/store.js";
import { JetStreamError, toKvError, unavailable } from "./errors.js";
import { expiresAtMs } from "./expiry.js";
import { askJetStream, readJetStream } from "./jetstream-api.js";
import { type HeaderLookup, headersOf } from "./messages.js";
import type { Log } from "./log.js";
import type { MessageReader, Place } from "./newest.js";
import { operationOf } from "./records.js";
import { type Requests, Unanswered } from "./requests.js";
import { parseDelivery } from "./watch/delivery.js";
import { coveringSubject } from "./watch/covering-subject.js";

/**
 * Every subject that has a message, in no order, and when its newest expires if that is a value: milliseconds since 1970 by the storage's
 * clock, Infinity for never; 0 for a tombstone.
 */
export type ScannedSubjects = ReadonlyMap<string, number>;

interface ConsumerInfo {
  readonly num_pending: number;
  readonly delivered: { readonly consumer_seq: number };
}

/** The status of what a push consumer says beside its messages: flow control, or that it is idle (ADR-9). */
const CONTROL_STATUS = 100;
const CONSUMER_CONFIG = {
  deliver_policy: "last_per_subject",
  ack_policy: "none",
  replay_policy: "instant",
  headers_only: true,
  flow_control: true,
  /** Nanoseconds, as all of JetStream's times. */
  idle_heartbeat: 500_000_000,
  inactive_threshold: 10_000_000_000,
  mem_storage: true,
  num_replicas: 1,
};
const CHECK_INTERVAL_MS = 20;
/** Time for the clean-up, which must not depend on a caller who may be gone. */
const DELETE_TIMEOUT_MS = 2_000;

export interface ScanOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  /** On a cluster the consumer may read from a replica that lags: the scan goes on until that has what the leader had. */
  readonly isClustered: boolean;
  readonly log: Log;
}

/** When the value that these headers belong to expires; 0 for a tombstone. `ageMsMax`: the bucket's ttl. */
export function liveUntilMs(headers: HeaderLookup, timeMs: number, ageMsMax: number): number {
  return operationOf(headers) === "put" ? expiresAtMs(headers, timeMs, ageMsMax) : 0;
}

/** Scans the subjects (full, with wildcards), and perhaps others beside them; `eventual`, as the copy that answers has them. Throws `KvError`. */
export async function scanSubjects(
  options: ScanOptions,
  place: Place,
  subjects: readonly string[],
  ageMsMax: number,
  scope: CallScope,
  consistency: Consistency = "strong",
): Promise<ScannedSubjects> {
  const mayLag = options.isClustered && consistency === "strong";
  for (;;) {
    const newest = mayLag ? await newestOf(options.reader, place, subjects, scope) : 0;
    const scanned = await scanOnce(options, place, subjects, ageMsMax, newest, scope);
    if (scanned !== undefined) return scanned;
    await delay(CHECK_INTERVAL_MS);
  }
}

/** Undefined when the scan did not come as far as `mustReach`, which may be gone by now. */
async function scanOnce(
  { requests, log }: ScanOptions,
  place: Place,
  subjects: readonly string[],
  ageMsMax: number,
  mustReach: number,
  scope: CallScope,
): Promise<ScannedSubjects | undefined> {
  const consumer = `ironflow_${nuid.next()}`;
  const scan = new Scan(requests, ageMsMax, mustReach, scope);
  try {
    const config = { ...CONSUMER_CONFIG, name: consumer, deliver_subject: scan.inbox };
    const filter = { filter_subject: coveringSubject(subjects) };
    const info = await askJetStream<ConsumerInfo>(
      requests,
      `CONSUMER.CREATE.${place.stream}.${consumer}`,
      { stream_name: place.stream, action: "create", config: { ...config, ...filter } },
      scope,
    );
    if (info.num_pending === 0) scan.caughtUpAt(info.delivered.consumer_seq);
    scan.onIdle = () => {
      readJetStream<ConsumerInfo>(
        requests,
        `CONSUMER.INFO.${place.stream}.${consumer}`,
        undefined,
        scope,
      ).then(
        (now) => {
          if (now.num_pending === 0) scan.caughtUpAt(now.delivered.consumer_seq);
        },
        (error: unknown) => scan.fail(error),
      );
    };
    const scanned = await scan.done;
    scan.stop();
    await deleteConsumer(requests, place, consumer, log);
    return scanned;
  } catch (error) {
    scan.stop();
    void deleteConsumer(requests, place, consumer, log);
    throw toKvError(error, { bucket: place.bucket });
  }
}

/** The sequence of the newest message of the subjects, by the stream's leader. */
async function newestOf(
  reader: MessageReader,
  place: Place,
  subjects: readonly string[],
  scope: CallScope,
): Promise<number> {
  const messages = await Promise.all(subjects.map((subject) => reader.newest(place, subject, scope)));
  return Math.max(0, ...messages.map((message) => Number(message?.sequence ?? 0n)));
}

class Scan {
  readonly inbox = createInbox();
  readonly done: Promise<ScannedSubjects | undefined>;
  private readonly subjects = new Map<string, number>();
  private received = 0;
  private reached = 0;
  /** Called when the server sent nothing for a while: it had nothing more, or is slow to read its files. Only it can tell. */
  onIdle: () => void = () => undefined;
  private finish: (subjects: ScannedSubjects | undefined) => void = () => undefined;
  fail: (error: unknown) => void = () => undefined;
  readonly stop: () => void;

  constructor(
    requests: Requests,
    private readonly ageMsMax: number,
    private readonly mustReach: number,
    scope: CallScope,
  ) {
    this.done = new Promise((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
    });
    // Whoever stops before waiting is told by another error.
    this.done.catch(() => undefined);
    const subscription = requests.connection.subscribe(this.inbox, {
      callback: (error, message) => {
        if (error === null) this.take(message);
        else this.fail(error);
      },
    });
    const timer = setInterval(() => {
      if (performance.now() >= scope.deadlineMs) this.fail(new Unanswered("deadline", true));
      else if (scope.signal.aborted) this.fail(new Unanswered("canceled", true));
    }, CHECK_INTERVAL_MS);
    const stopListening = requests.onDisconnect(() => this.fail(new Unanswered("disconnected", true)));
    this.stop = () => {
      clearInterval(timer);
      stopListening();
      if (!requests.connection.isClosed()) subscription.unsubscribe();
    };
  }

  /** The consumer had nothing more to send after this many messages. */
  caughtUpAt(consumerSequence: number): void {
    if (consumerSequence !== this.received) return;
    this.finish(this.reached >= this.mustReach ? this.subjects : undefined);
  }

  private take(message: Msg): void {
    const headers = headersOf(message);
    if (headers.status === CONTROL_STATUS) {
      if (message.reply) message.respond();
      else this.onIdle();
      return;
    }
    const delivery = parseDelivery(message.reply ?? "");
    if (delivery?.consumerSequence !== ++this.received) {
      this.fail(unavailable({}, new Error("the scan's messages have a gap")));
      return;
    }
    this.subjects.set(message.subject, liveUntilMs(headers, delivery.timeMs, this.ageMsMax));
    this.reached = delivery.streamSequence;
    if (delivery.pending === 0 && this.reached >= this.mustReach) this.finish(this.subjects);
  }
}

/** Never fails: it was not made, or went with its stream, or goes by itself when it has been inactive for a while. */
async function deleteConsumer(requests: Requests, place: Place, consumer: string, log: Log): Promise<void> {
  // A caller who is gone must not keep this from happening.
  const scope = { deadlineMs: performance.now() + DELETE_TIMEOUT_MS, signal: NEVER_ABORTED };
  try {
    await askJetStream(requests, `CONSUMER.DELETE.${place.stream}.${consumer}`, undefined, scope);
  } catch (error) {
    if (error instanceof JetStreamError) return;
    log.warn({ err: error, bucket: place.bucket }, "a scan of keys could not be cleaned up at once");
  }
}

const NEVER_ABORTED = new AbortController().signal;
