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
  const next = async (): Promise<PageOfList> => (await registry.unary(method, call, asked)) as PageOfList;
  let page = await next();
  let large = new LargeValues();
  let items = list.items(page, large, call);
  const encode = (text: string): string | Buffer | Promise<Buffer> =>
    large.isNeeded ? large.encodeInTurns(text, call.connection) : text;
  const begin = list.begin(call);
  const { nextPageToken } = page;
  if (!isWhole || nextPageToken === "") {
    const text = begin + items.join(",") + list.end(items.length, nextPageToken);
    const answer = { ...jsonAnswer(200, ""), body: await encode(text) };
    return send(exchange, await encodedAnswer(exchange, answer));
  }
  const body = new ChunkedBody(exchange);
  if (exchange.method === "HEAD") return await body.end("");
  let count = items.length;
  try {
    await body.write(await encode(begin + items.join(",")));
    while (page.nextPageToken !== "" && !body.isClosed) {
      asked.pageToken = page.nextPageToken;
      call.isContinued = true;
      page = await next();
      large = new LargeValues();
      items = list.items(page, large, call);
      count += items.length;
      // An item of an earlier page precedes these.
      if (items.length > 0) await body.write(await encode(`,${items.join(",")}`));
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

  /** Resolves when the write buffer has room, or the client has disconnected. */
  async write(text: string | Buffer): Promise<void> {
    const { exchange } = this;
    if (this.isClosed) return;
    const data = this.gzip === undefined ? text : await this.gzip.push(text);
    if (exchange.isClosed || data.length === 0) return;
    this.sentBytes += Buffer.byteLength(data);
    exchange.write([data]);
    if (!exchange.isFull) return;
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
