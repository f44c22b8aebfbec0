/**
 * Responses to list calls. A request for a page gets that page. A request without `limit` and `page_token` gets the complete list, streamed
 * page by page as one JSON object, with one page in memory at a time.
 */
import type { Message } from "@bufbuild/protobuf";
import type { ServiceRegistry } from "../../service/calls.js";
import type { Exchange } from "../exchange.js";
import { LargeValues } from "../large-values.js";
import { send, addCommonFields } from "../send.js";
import { encodedAnswer, type GzipStream, streamEncoding } from "./compression.js";
import type { HttpCall } from "./call.js";
import type { Endpoint } from "./routes.js";
import { jsonAnswer, type ListShape } from "./shape.js";

type PageRequest = Message & { limit: number; pageToken: string };
type PageOfList = Message & { readonly nextPageToken: string };

interface EncodedPage {
  readonly count: number;
  readonly nextPageToken: string;
  readonly json: string | Buffer;
}

const NO_PAGE: EncodedPage = { count: 0, nextPageToken: "", json: "" };

/** Sends the response and returns its size. Throws if nothing was sent yet; a later failure aborts the response. */
export async function answerList(
  { method }: Pick<Endpoint, "method">,
  list: ListShape,
  call: HttpCall,
  exchange: Exchange,
  registry: ServiceRegistry,
): Promise<number> {
  const asked = call.request as PageRequest;
  const isWhole = asked.limit === 0 && asked.pageToken === "";
  if (isWhole) asked.limit = list.pageLimit ?? 0;
  const isAlone = (token: string): boolean => !isWhole || token === "";
  /** `before`: how many items precede the page. */
  const read = async (before: number): Promise<EncodedPage> => {
    const page = (await registry.unary(method, call, asked)) as PageOfList;
    const { nextPageToken } = page;
    const large = new LargeValues();
    const items = list.items(page, large, call);
    const count = items.length;
    let text = (before > 0 && count > 0 ? "," : "") + items.join(",");
    if (!call.isContinued) text = list.begin(call) + text;
    if (!call.isContinued && isAlone(nextPageToken)) text += list.end(count, nextPageToken);
    const json = large.isNeeded ? await large.encodeInTurns(text, call.connection) : text;
    return { count, nextPageToken, json };
  };
  const first = await read(0);
  if (isAlone(first.nextPageToken)) {
    const answer = { ...jsonAnswer(200, ""), body: first.json };
    return send(exchange, await encodedAnswer(exchange, answer));
  }
  return sendPages(first, read, list, call, exchange);
}

/** Sends all pages as one list, of which `page` is the first one. */
async function sendPages(
  page: EncodedPage,
  read: (before: number) => Promise<EncodedPage>,
  list: ListShape,
  call: HttpCall,
  exchange: Exchange,
): Promise<number> {
  const asked = call.request as PageRequest;
  const body = new ChunkedBody(exchange);
  if (exchange.method === "HEAD") return await body.end("");
  let count = 0;
  try {
    for (;;) {
      await body.write(page.json);
      call.releaseHeld();
      count += page.count;
      asked.pageToken = page.nextPageToken;
      // What waits to be sent is counted as such; it is not kept here as well.
      page = NO_PAGE;
      await body.drained();
      if (asked.pageToken === "" || body.isClosed) break;
      call.isContinued = true;
      page = await read(count);
    }
  } catch (error) {
    body.abandon();
    // Truncated JSON does not parse, and the connection or stream is reset: no client mistakes it for a complete list.
    exchange.reset();
    throw error;
  }
  return await body.end(list.end(count, ""));
}

/** A body that is sent at the client's pace. */
class ChunkedBody {
  private sentBytes = 0;
  private wake: (() => void) | undefined;
  private readonly gzip: GzipStream | undefined;

  constructor(private readonly exchange: Exchange) {
    const { headers, gzip } = streamEncoding(exchange, jsonAnswer(200, "").headers);
    this.gzip = gzip;
    if (exchange.isClosed) return;
    exchange.start(200, addCommonFields(exchange, headers));
    exchange.onAbandoned(() => this.wake?.());
  }

  get isClosed(): boolean {
    return this.exchange.isClosed;
  }

  /** Resolves when the text is compressed and counts as unsent. */
  async write(text: string | Buffer): Promise<void> {
    const { exchange } = this;
    if (this.isClosed || text.length === 0) return;
    const data = this.gzip === undefined ? text : await this.gzip.push(text);
    if (exchange.isClosed || data.length === 0) return;
    this.sentBytes += Buffer.byteLength(data);
    exchange.write([data]);
  }

  /** Resolves when the write buffer has room, or the client has disconnected. */
  async drained(): Promise<void> {
    const { exchange } = this;
    if (this.isClosed || !exchange.isFull) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      exchange.onDrained(resolve);
    });
  }

  /** Resolves with the number of bytes sent. */
  async end(text: string): Promise<number> {
    const hasContent = !this.isClosed && this.exchange.method !== "HEAD";
    const rest = this.gzip === undefined || !hasContent ? text : await this.gzip.end(text);
    this.abandon();
    if (this.isClosed) return this.sentBytes;
    this.sentBytes += Buffer.byteLength(rest);
    this.exchange.end(rest);
    return this.sentBytes;
  }

  /** Releases the memory of the compressor. */
  abandon(): void {
    this.gzip?.destroy();
  }
}
