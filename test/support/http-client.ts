/** Requests as they are written, over HTTP/1.1, HTTP/2 or a bare socket: `fetch` normalises paths and hides the rest. */
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";

export interface TestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly bytes: Buffer;
  readonly text: string;
  /** The body as JSON; undefined when there is none, or it is compressed. */
  readonly json: unknown;
}

export interface TestRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** Sends one request over HTTP/1.1 on a connection of its own. `path` goes out as it is. */
export async function send1(
  url: string,
  method: string,
  path: string,
  { headers = {}, body }: TestRequest = {},
): Promise<TestAnswer> {
  const { hostname, port } = new URL(url);
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  const request = httpRequest({
    hostname,
    port,
    method,
    path,
    agent: false,
    headers: { ...length, ...headers },
  });
  request.end(body);
  return new Promise((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve(answerOf(response.statusCode ?? 0, response.headers as TestAnswer["headers"], chunks)),
      );
    });
  });
}

/** Sends one request over HTTP/2 in cleartext. */
export async function send2(
  url: string,
  method: string,
  path: string,
  { headers = {}, body }: TestRequest = {},
): Promise<TestAnswer> {
  const session = connectHttp2(url);
  session.on("error", () => undefined);
  try {
    const stream = session.request(
      { ":method": method, ":path": path, ...headers },
      { endStream: body === undefined },
    );
    if (body !== undefined) stream.end(body);
    const [response] = (await once(stream, "response")) as [Record<string, string> & { ":status": number }];
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return answerOf(response[":status"], response, chunks);
  } finally {
    session.destroy();
  }
}

/** Writes bytes to a new connection and gives all that comes back until the server ends it. */
export async function sendBytes(port: number, bytes: string | Buffer): Promise<string> {
  const socket = connectSocket(port, "127.0.0.1");
  socket.write(bytes);
  let text = "";
  socket.on("data", (chunk) => (text += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  await once(socket, "close");
  return text;
}

function answerOf(status: number, headers: TestAnswer["headers"], chunks: readonly Buffer[]): TestAnswer {
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString();
  const isJson =
    text !== "" &&
    headers["content-type"] === "application/json" &&
    headers["content-encoding"] === undefined;
  return { status, headers, bytes, text, json: isJson ? (JSON.parse(text) as unknown) : undefined };
}
