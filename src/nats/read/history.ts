/** The kept revisions of a key, page by page. */
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { quote } from "../../kv/names.js";
import { entryJsonBytes, PageRoom } from "../../kv/page-room.js";
import {
  checkIncarnation,
  malformedPageToken,
  pageLimit,
  readPageToken,
  writePageToken,
} from "../../kv/page-token.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Consistency, Page, PageRequest } from "../../kv/reads.js";
import type { Entry } from "../../kv/entry.js";
import { aboutOf, entryOfMessage, type KeyPlace, placeOf } from "./entries.js";
import { AnswerSizes } from "../client/answer-sizes.js";
import { JetStreamError, toKvError } from "../client/errors.js";
import { SLOW_ANSWER_GROWTH, untilAnswered } from "../client/jetstream-api.js";
import type { Expiry } from "../streams/expiry.js";
import {
  existing,
  isNoResponders,
  messageOf,
  type MessageReader,
  type StoredMessage,
  storedMessageBytesMax,
} from "../client/message-reader.js";
import { ownBytes } from "../client/messages.js";
import { RequestCoalescer } from "../client/request-coalescer.js";
import type { Requests } from "../client/requests.js";
import { PageMemory } from "./page-memory.js";
import type { ReadMemory } from "./read-memory.js";

/** Messages in one answer; a bucket keeps no more of a key, unless another program made it. */
const BATCH_SIZE = 64;
/** Bytes after which the server ends an answer: more than one turn of the event loop is not to be under way for one caller. */
const BATCH_BYTES_MAX = 262_144;
/** The statuses that end a batch (ADR-31): nothing there; end of batch. */
const NOT_FOUND_STATUS = 404;
const END_STATUS = 204;
/** A page takes this many times its bytes as JSON: as it was read, and in the encoded response. */
const PAGE_FACTOR = 2;
/** A revision as a page token has it: at most 2^53 - 1. */
const REVISION = /^[1-9]\d{0,15}$/;

/** Where a page begins, and what it has room for. */
interface PageContext {
  readonly place: KeyPlace;
  readonly itemsMax: number;
  readonly context: CallContext;
  readonly consistency: Consistency;
  /** Undefined: the caller has reserved it. */
  readonly memory: PageMemory | undefined;
}

interface SharedPage {
  readonly page: Page<Entry>;
  readonly memory: PageMemory | undefined;
}

export class History {
  private readonly pages: RequestCoalescer<SharedPage>;
  private readonly sizes = new AnswerSizes();

  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly isClustered: boolean,
    private readonly expiry: Expiry,
    private readonly limits: Limits,
    private readonly memory: ReadMemory,
  ) {
    this.pages = new RequestCoalescer(limits.callTimeoutMsMax);
  }

  /** Who asks for the same page at once shares a read. `isReserved`: whether the caller has reserved the memory of a page. */
  async page(
    bucket: string,
    key: string,
    request: PageRequest,
    context: CallContext,
    consistency: Consistency = "strong",
    isReserved = false,
  ): Promise<Page<Entry>> {
    const name = JSON.stringify([bucket, key, request.limit, request.pageToken, consistency, isReserved]);
    const bytesMax = PAGE_FACTOR * this.limits.pageBytesMax;
    const read = async (shared: CallContext): Promise<SharedPage> => {
      const memory = isReserved ? undefined : new PageMemory(this.memory, bytesMax);
      try {
        return { page: await this.readPage(bucket, key, request, shared, consistency, memory), memory };
      } finally {
        // The callers share it by then.
        setImmediate(() => memory?.leave());
      }
    };
    try {
      const { page, memory } = await this.pages.get(name, context, read);
      if (context.held !== undefined) memory?.share(context.held);
      return page;
    } catch (error) {
      throw toKvError(error, { bucket, key });
    }
  }

  private async readPage(
    bucket: string,
    key: string,
    request: PageRequest,
    context: CallContext,
    consistency: Consistency,
    memory: PageMemory | undefined,
  ): Promise<Page<Entry>> {
    const place = placeOf(bucket, key);
    const { historyMax, pageBytesMax } = this.limits;
    const limit = pageLimit(request.limit, historyMax);
    const listing = `history ${bucket} ${key}`;
    const token = readPageToken(request.pageToken, listing);
    if (token !== undefined && !REVISION.test(token.after)) throw malformedPageToken();
    const isWhole = request.limit === 0 && token === undefined;
    const from = BigInt(token?.after ?? 0) + 1n;
    const read = (): Promise<ReadPage> =>
      this.read(from, { place, itemsMax: isWhole ? Infinity : limit, context, consistency, memory });
    let page = await read();
    if (token === undefined) {
      if (page.entries.length === 0) {
        throw new KvError("key_not_found", `Nothing is kept of the key ${quote(key)}.`, aboutOf(place));
      }
      if (page.lastRevision === undefined) return { items: page.entries, nextPageToken: "" };
      if (isWhole) throw answerTooLarge(place, pageBytesMax);
    }
    const { created } = await this.reader.stream(place, context);
    // Compared after the read: the bucket that the token names is there still, so it was read.
    checkIncarnation(token, created);
    // Read again: the bucket may have been recreated between the first read and this look.
    if (token === undefined) page = await read();
    const { lastRevision } = page;
    return {
      items: page.entries,
      nextPageToken:
        lastRevision === undefined ? "" : writePageToken(listing, lastRevision.toString(), created),
    };
  }

  /** A page from a revision on. What has expired is passed over, as if it had been removed. */
  private async read(from: bigint, within: PageContext): Promise<ReadPage> {
    for (let next = from; ;) {
      const page = new MessagePage(new PageRoom(within.itemsMax, this.limits.pageBytesMax));
      const asksLeader = this.isClustered && within.consistency === "strong";
      await (asksLeader ? this.oneByOne(page, next, within) : this.inBatches(page, next, within));
      const entries: Entry[] = [];
      for (const message of page.messages) {
        if ((await this.expiry.unlessExpired(within.place, message, within.context)) !== undefined)
          entries.push(entryOfMessage(within.place.key, message));
      }
      const lastRevision = page.isCut ? page.messages.at(-1)?.sequence : undefined;
      if (lastRevision === undefined || entries.length > 0) return { entries, lastRevision };
      next = lastRevision + 1n;
    }
  }

  /** By the stream's leader, which has seen every write. */
  private async oneByOne(
    page: MessagePage,
    from: bigint,
    { place, context, memory }: PageContext,
  ): Promise<void> {
    const largeBytesLeft = page.room.bytesLeft - BATCH_BYTES_MAX;
    for (let next = from; ;) {
      if (page.room.bytesLeft < largeBytesLeft) await memory?.reserve(context);
      const message = await this.reader.next(place, place.subject, next, context);
      if (message === undefined || !page.take(place.key, message)) return;
      next = message.sequence + 1n;
    }
  }

  private async inBatches(page: MessagePage, from: bigint, within: PageContext): Promise<void> {
    const { place, context } = within;
    for (let next = from; ;) {
      let pending: number;
      try {
        pending = await this.batch(page, next, within);
      } catch (error) {
        if (!isNoResponders(error)) throw toKvError(error, aboutOf(place));
        await existing(this.requests, place, context);
        return this.oneByOne(page, next, within);
      }
      if (pending === 0 || page.isCut) return;
      if (page.room.itemsLeft === 0) {
        page.isCut = true;
        return;
      }
      next = (page.messages.at(-1)?.sequence ?? 0n) + 1n;
      await within.memory?.reserve(context);
    }
  }

  /** Takes one batch; returns how many messages come after it. */
  private async batch(page: MessagePage, from: bigint, { place, context }: PageContext): Promise<number> {
    // The server ends a batch with the message that reaches `max_bytes`; base64 makes three bytes four.
    const bytesMax = Math.min(BATCH_BYTES_MAX, Math.max(1, Math.ceil((page.room.bytesLeft * 3) / 4)));
    const body = JSON.stringify({
      seq: Number(from),
      next_by_subj: place.subject,
      batch: Math.min(BATCH_SIZE, page.room.itemsLeft),
      max_bytes: bytesMax,
    });
    const expected = {
      bytesMax: bytesMax + storedMessageBytesMax(this.limits),
      bulkBytes: this.sizes.bulkBytes(place.stream),
    };
    const { last, messages } = await untilAnswered(
      context,
      async (attempt) => {
        const received: StoredMessage[] = [];
        const end = await this.requests.many(
          `$JS.API.DIRECT.GET.${place.stream}`,
          Buffer.from(body),
          attempt,
          expected,
          (reply) => {
            if (reply.status !== 0) return reply;
            received.push(messageOf(reply.headers, ownBytes(reply.data)));
            return undefined;
          },
        );
        return { last: end, messages: received };
      },
      SLOW_ANSWER_GROWTH,
    );
    this.sizes.note(
      place.stream,
      messages.reduce((bytes, { data }) => bytes + data.length, 0),
    );
    for (const message of messages) if (!page.isCut) page.take(place.key, message);
    if (last.status === NOT_FOUND_STATUS) return 0;
    if (last.status === END_STATUS) return Number(last.headers.last("Nats-Num-Pending"));
    throw new JetStreamError(last.status, last.headers.text.split("\r\n", 1)[0] ?? "");
  }
}

interface ReadPage {
  readonly entries: readonly Entry[];
  /** The revision that the next page begins after; undefined: this was the last. */
  readonly lastRevision: bigint | undefined;
}

/** The messages of one page while they are read. */
class MessagePage {
  readonly messages: StoredMessage[] = [];
  /** Whether there are more than these. */
  isCut = false;

  constructor(readonly room: PageRoom) {}

  /** Adds a message; false where the page has no room for it. */
  take(key: string, message: StoredMessage): boolean {
    this.isCut = !this.room.take(entryJsonBytes(entryOfMessage(key, message)));
    if (!this.isCut) this.messages.push(message);
    return !this.isCut;
  }
}

function answerTooLarge(place: KeyPlace, bytesMax: number): KvError {
  return new KvError(
    "answer_too_large",
    `The history of the key ${quote(place.key)} does not fit into one answer of ${bytesMax} bytes; set limit to read it in pages.`,
    aboutOf(place),
  );
}
