/**
 * Direct gets of the newest messages of some keys up to a sequence, without a consumer (ADR-31). Any copy of the stream may answer, also
 * one that lags behind; a stream that another program made may not allow them at all.
 */
import { createInbox, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { headersOf } from "../messages.js";
import { parseTimestamp } from "../timestamps.js";
import type { StreamApi } from "./api.js";
import { Change } from "./delivery.js";

/** What to get: the newest message of each subject that matches one of the filters. */
export interface DirectQuery {
  readonly multi_last: readonly string[];
  /** Newest as of this sequence. */
  readonly up_to_seq: number;
  readonly batch: number;
  readonly max_bytes?: number;
}

export interface DirectAnswer {
  /** In the order of sequences. */
  readonly changes: readonly Change[];
  /** Whether there are more than these. */
  readonly isCut: boolean;
}

/** Refused: more subjects match than the server answers for, or direct gets are not allowed. */
export class DirectRefused extends Error {
  constructor(
    /** 413: too many; 503: nobody answers such requests, now or ever. */
    readonly status: number,
  ) {
    super(`status ${status}`);
  }
}

const SILENCE_MS_MAX = 2_000;
const END_OF_BATCH = 204;
const NOTHING = 404;

/** Asks; throws {@link DirectRefused}, or another error when the answer does not come or has a gap. */
export function directGet(
  connection: NatsConnection,
  api: StreamApi,
  subjectPrefix: string,
  query: DirectQuery,
): Promise<DirectAnswer> {
  const inbox = createInbox();
  const changes: Change[] = [];
  return new Promise((resolve, reject) => {
    const finish = (end: () => void): void => {
      clearTimeout(silence);
      subscription.unsubscribe();
      end();
    };
    const silence = setTimeout(() => finish(() => reject(new Error("no answer"))), SILENCE_MS_MAX);
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        silence.refresh();
        const headers = headersOf(message);
        const { status } = headers;
        if (error !== null) {
          finish(() => reject(error));
        } else if (status === 0) {
          changes.push(changeOf(message, subjectPrefix));
        } else if (status === END_OF_BATCH) {
          const last = changes.at(-1)?.revision ?? 0;
          // The end names the last sequence that was sent: a message that got lost on the way shows here.
          if (Number(headers.last("Nats-Last-Sequence")) !== last) finish(() => reject(new Error("a gap")));
          else finish(() => resolve({ changes, isCut: headers.last("Nats-Num-Pending") !== "0" }));
        } else if (status === NOTHING) {
          finish(() => resolve({ changes: [], isCut: false }));
        } else {
          finish(() => reject(new DirectRefused(status)));
        }
      },
    });
    connection.publish(`$JS.API.DIRECT.GET.${api.stream}`, JSON.stringify(query), { reply: inbox });
  });
}

/** What the server adds to a message's headers comes after what its writer gave: the last of each name counts. */
function changeOf(message: Msg, subjectPrefix: string): Change {
  const headers = headersOf(message);
  const time = parseTimestamp(headers.last("Nats-Time-Stamp"));
  return new Change(message, headers.last("Nats-Subject").slice(subjectPrefix.length), {
    streamSequence: Number(headers.last("Nats-Sequence")),
    consumerSequence: 0,
    timeMs: time.ms,
    timeNanos: time.nanos,
    pending: 0,
  });
}
