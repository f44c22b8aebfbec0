/** HTTP/2 servers under the control of a test: how a peer behaves that the real service is not. */
import { once } from "node:events";
import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type Http2Session,
  type ServerHttp2Stream,
  type Settings,
} from "node:http2";
import { createServer as createNetServer, type AddressInfo, type Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { GetRequestSchema, GetResponseSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ended, track } from "../support/started.js";

/** A Get that the test answers, or not. */
export interface HeldGet {
  readonly key: string;
  readonly headers: IncomingHttpHeaders;
  readonly stream: ServerHttp2Stream;
  readonly session: Http2Session;
  /** Answers with the key as the value. */
  answer(): void;
}

/** Holds every Get until the test decides. */
export class Http2Peer {
  readonly sessions: Http2Session[] = [];
  private readonly gets: HeldGet[] = [];
  private readonly waiting: ((get: HeldGet) => void)[] = [];

  private constructor(private readonly server: Http2Server) {
    server.on("session", (session) => this.sessions.push(session));
    server.on("stream", (stream, headers) => void this.receive(stream, headers));
  }

  static async start(settings: Settings = {}): Promise<Http2Peer> {
    const server = createServer({ settings });
    const peer = new Http2Peer(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    track(peer, () => peer.stop());
    return peer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The next Get that arrives, or that has arrived. */
  async next(): Promise<HeldGet> {
    return this.gets.shift() ?? (await new Promise((resolve) => this.waiting.push(resolve)));
  }

  async stop(): Promise<void> {
    ended(this);
    const closed = once(this.server, "close");
    this.server.close();
    for (const session of this.sessions) session.destroy();
    await closed;
  }

  private async receive(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    stream.on("error", () => undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const session = stream.session;
    if (session === undefined) return;
    const { key } = fromBinary(GetRequestSchema, new Uint8Array(Buffer.concat(chunks)));
    const answer = (): void => {
      const entry = { key, value: Buffer.from(key), revision: 1n };
      stream.respond({ ":status": 200, "content-type": "application/proto" });
      stream.end(toBinary(GetResponseSchema, create(GetResponseSchema, { entry })));
    };
    const get = { key, headers, stream, session, answer };
    const waiting = this.waiting.shift();
    if (waiting === undefined) this.gets.push(get);
    else waiting(get);
  }
}

/** An empty SETTINGS frame: the least that a server must send. */
const SETTINGS_FRAME = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** A server that sends its SETTINGS, and then only reads. `onSocket` is called for each connection. */
export async function startSilentPeer(
  onSocket: (socket: Socket) => void = () => undefined,
): Promise<{ url: string; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createNetServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.resume();
    socket.write(SETTINGS_FRAME);
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async (): Promise<void> => {
    ended(server);
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  track(server, stop);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop };
}
