/** Every kept revision of a key. */
import { KvError } from "../kv/errors.js";
import { quote } from "../kv/names.js";
import type { CallScope, Consistency, Entry } from "../kv/store.js";
import { entryOfMessage, type KeyPlace, placeOf } from "./entries.js";
import { JetStreamError, toKvError } from "./errors.js";
import type { Expiry } from "./expiry.js";
import { existing, isNoResponders, messageOf, type MessageReader, type StoredMessage } from "./newest.js";
import type { Requests } from "./requests.js";

/** Messages in one answer; a bucket keeps no more of a key, unless another program made it. */
const BATCH_SIZE = 64;
/** The statuses that end a batch (ADR-31): nothing there; end of batch. */
const NOT_FOUND_STATUS = 404;
const END_STATUS = 204;

export class History {
  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly isClustered: boolean,
    private readonly expiry: Expiry,
  ) {}

  async of(
    bucket: string,
    key: string,
    scope: CallScope,
    consistency: Consistency = "strong",
  ): Promise<readonly Entry[]> {
    const place = placeOf(bucket, key);
    const asksLeader = this.isClustered && consistency === "strong";
    const messages = asksLeader ? await this.oneByOne(place, scope) : await this.inBatches(place, scope);
    const kept: StoredMessage[] = [];
    for (const message of messages) {
      if ((await this.expiry.unlessExpired(place, message, scope)) !== undefined) kept.push(message);
    }
    if (kept.length === 0) {
      throw new KvError("key_not_found", `Nothing is kept of the key ${quote(key)}.`, { bucket, key });
    }
    return kept.map((message) => entryOfMessage(key, message));
  }

  /** By the stream's leader, which has seen every write. */
  private async oneByOne(place: KeyPlace, scope: CallScope): Promise<StoredMessage[]> {
    const messages: StoredMessage[] = [];
    for (let from = 1n; ;) {
      const message = await this.reader.next(place, place.subject, from, scope);
      if (message === undefined) return messages;
      messages.push(message);
      from = message.sequence + 1n;
    }
  }

  private async inBatches(place: KeyPlace, scope: CallScope): Promise<StoredMessage[]> {
    const messages: StoredMessage[] = [];
    for (let pending = 1; pending > 0;) {
      const from = Number(messages.at(-1)?.sequence ?? 0n) + 1;
      try {
        pending = await this.batch(place, from, messages, scope);
      } catch (error) {
        if (!isNoResponders(error)) throw toKvError(error, { bucket: place.bucket, key: place.key });
        await existing(this.requests, place, scope);
        return this.oneByOne(place, scope);
      }
    }
    return messages;
  }

  /** Takes one batch; returns how many messages come after it. */
  private async batch(
    place: KeyPlace,
    from: number,
    into: StoredMessage[],
    scope: CallScope,
  ): Promise<number> {
    const body = JSON.stringify({ seq: from, next_by_subj: place.subject, batch: BATCH_SIZE });
    const last = await this.requests.many(
      `$JS.API.DIRECT.GET.${place.stream}`,
      Buffer.from(body),
      scope,
      (reply) => {
        if (reply.status !== 0) return reply;
        // A copy: the bytes may be part of a larger block, which they would keep in memory.
        into.push(messageOf(reply.headers, reply.data.slice()));
        return undefined;
      },
    );
    if (last.status === NOT_FOUND_STATUS) return 0;
    if (last.status === END_STATUS) return Number(last.headers.last("Nats-Num-Pending"));
    throw new JetStreamError(last.status, last.headers.text.split("\r\n", 1)[0] ?? "");
  }
}
