/**
 * Responses to list calls. A request for a page gets that page. A request without `limit` and `page_token` gets the complete list, streamed
 * page by page as one JSON object, with one page in memory at a time.
 */
import type { Message } from "@bufbuild/protobuf";
import { PlainResponse } from "../../listener/http1/plain-response.js";
import type { ServiceRegistry } from "../../service/calls.js";
import type { Request, Response } from "./body.js";
import type { HttpCall } from "./call.js";
import type { Endpoint } from "./routes.js";
import { send, writeHead } from "./send.js";
import { jsonAnswer, type ListShape } from "./shape.js";
import { REQUEST_ID_HEADER } from "../request-id.js";

type PageRequest = Message & { limit: number; pageToken: string };
type PageOfList = Message & { readonly nextPageToken: string };

/** Sends the response and returns its size. Throws if nothing was sent yet; a later failure aborts the response. */
export async function answerList(
  { method }: Pick<Endpoint, "method">,
  list: ListShape,
  call: HttpCall,
  request: Request,
  response: Response | PlainResponse,
  registry: ServiceRegistry,
): Promise<number> {
  const asked = call.request as PageRequest;
  const isWhole = asked.limit === 0 && asked.pageToken === "";
  if (isWhole) asked.limit = list.pageLimit ?? 0;
  const next = async (): Promise<PageOfList> => (await registry.unary(method, call, asked)) as PageOfList;
  let page = await next();
  let items = list.items(page);
  const begin = list.begin(call);
  const { nextPageToken } = page;
  if (!isWhole || nextPageToken === "") {
    const text = begin + items.join(",") + list.end(items.length, nextPageToken);
    return send(request, response, jsonAnswer(200, text));
  }
  const body = new ChunkedBody(request, response);
  if (request.method === "HEAD") return body.end("");
  let count = items.length;
  try {
    await body.write(begin + items.join(","));
    while (page.nextPageToken !== "" && !body.isClosed) {
      asked.pageToken = page.nextPageToken;
      call.isContinued = true;
      page = await next();
      items = list.items(page);
      count += items.length;
      // An item of an earlier page precedes these.
      if (items.length > 0) await body.write(`,${items.join(",")}`);
    }
  } catch (error) {
    // Truncated JSON does not parse, and the connection or stream is reset: no client mistakes it for a complete list.
    response.destroy();
    throw error;
  }
  return body.end(list.end(count, ""));
}

/** A body that is sent at the client's pace. */
class ChunkedBody {
  isClosed: boolean;
  private sentBytes = 0;
  private wake: (() => void) | undefined;

  constructor(
    request: Request,
    private readonly response: Response | PlainResponse,
  ) {
    this.isClosed = response.destroyed;
    const { headers } = jsonAnswer(200, "");
    if (response instanceof PlainResponse) {
      response.begin(200, headers, request.headers[REQUEST_ID_HEADER]?.toString());
    } else {
      writeHead(response, 200, headers);
    }
    response.once("close", () => {
      this.isClosed = true;
      this.wake?.();
    });
  }

  /** Resolves when the write buffer has room, or the client has disconnected. */
  async write(text: string): Promise<void> {
    if (this.isClosed) return;
    this.sentBytes += Buffer.byteLength(text);
    const { response } = this;
    // TypeScript can't call `write` on the union of Node's response types.
    const hasRoom =
      response instanceof PlainResponse
        ? response.writeChunk(text)
        : "stream" in response
          ? response.write(text)
          : response.write(text);
    if (hasRoom) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      response.once("drain", resolve);
    });
  }

  end(text: string): number {
    if (this.isClosed) return this.sentBytes;
    this.sentBytes += Buffer.byteLength(text);
    if (this.response instanceof PlainResponse) this.response.endChunks(text);
    else this.response.end(text);
    return this.sentBytes;
  }
}
