/** A client of server-sent events, over both versions of HTTP. */
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { Readable } from "node:stream";

export const ACCEPT = { accept: "text/event-stream" };

export interface EventStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Readable;
  readonly leave: () => void;
}

export async function open1(
  url: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const { hostname, port } = new URL(url);
  const request = httpRequest({ hostname, port, path, agent: false, headers: { ...ACCEPT, ...headers } });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.on("error", () => undefined);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: response,
    leave: () => request.destroy(),
  };
}

export async function open2(
  url: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const session = connectHttp2(url);
  session.on("error", () => undefined);
  const stream = session.request({ ":path": path, ...ACCEPT, ...headers });
  stream.on("error", () => undefined);
  const [answer] = (await once(stream, "response")) as [Record<string, unknown>];
  return {
    status: answer[":status"] as number,
    headers: answer,
    body: stream,
    leave: () => session.destroy(),
  };
}

export interface SentEvent {
  readonly id?: string;
  readonly data: unknown;
}

/** Reads events until there are this many, or the stream ends; comments are left out. */
export async function readEvents(body: Readable, count: number): Promise<SentEvent[]> {
  const events: SentEvent[] = [];
  let text = "";
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const block = text.slice(0, end);
      text = text.slice(end + 2);
      const data = /(?:^|\n)data: ([^\n\r]*)/.exec(block)?.[1];
      const id = /(?:^|\n)id: ([^\n\r]*)/.exec(block)?.[1];
      if (data !== undefined) events.push({ ...(id === undefined ? {} : { id }), data: JSON.parse(data) });
    }
    if (events.length >= count) break;
  }
  return events;
}
