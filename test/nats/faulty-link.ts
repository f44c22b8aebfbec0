/** A TCP link to a nats-server that can be cut, refuse to connect, or lose what one side sends. */
import { once } from "node:events";
import { createServer, type Server, connect as connectSocket, type Socket } from "node:net";

export interface FaultyLink {
  readonly url: string;
  /** Ends every connection at once. New ones are taken unless it is down. */
  cut(): void;
  /** Whether new connections are refused. */
  isDown: boolean;
  /** Resolves when the client has sent this text; from then on what the server says is lost. */
  loseAnswersTo(text: string): Promise<void>;
  /** Resolves when the client has sent this text, which is lost with all that follows. */
  loseRequest(text: string): Promise<void>;
  /** Keeps what the client sends from this text on, also after a cut, until it is delivered. */
  holdRequest(text: string): HeldRequest;
  /** Lets everything pass again; on connections where something was lost only after a cut. */
  heal(): void;
  close(): Promise<void>;
}

export interface HeldRequest {
  /** Resolves when the client has sent it. */
  readonly sent: Promise<void>;
  /** Lets the server read it; resolves when the server has closed that connection. */
  deliver(): Promise<void>;
}

interface Loss {
  readonly text: string;
  readonly direction: "request" | "answer" | "late request";
  /** `target`: the server's side. */
  readonly onLost: (chunk: Buffer, target: Socket) => void;
}

export async function openFaultyLink(targetPort: number): Promise<FaultyLink> {
  const sockets = new Set<Socket>();
  let loss: Loss | undefined;
  const server: Server = createServer((client) => {
    if (link.isDown) {
      client.destroy();
      return;
    }
    const target = connectSocket(targetPort, "127.0.0.1");
    const lost = { request: false, answer: false, "late request": false };
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        if (!lost["late request"]) other.destroy();
      });
    }
    client.on("data", (chunk) => {
      const current = loss;
      if (current !== undefined && chunk.includes(current.text)) {
        lost[current.direction] = true;
        loss = undefined;
        const onLost = (): void => current.onLost(chunk, target);
        if (current.direction === "answer") target.write(chunk, onLost);
        else onLost();
        return;
      }
      if (!lost.request && !lost["late request"]) target.write(chunk);
    });
    target.on("data", (chunk) => {
      if (!lost.answer) client.write(chunk);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const lose = (text: string, direction: Loss["direction"]): Promise<void> =>
    new Promise((resolve) => {
      loss = { text, direction, onLost: () => resolve() };
    });
  const hold = (text: string): HeldRequest => {
    const held = new Promise<{ chunk: Buffer; target: Socket }>((resolve) => {
      const onLost = (chunk: Buffer, target: Socket): void => {
        // A cut is of the client's side.
        sockets.delete(target);
        resolve({ chunk, target });
      };
      loss = { text, direction: "late request", onLost };
    });
    return {
      sent: held.then(() => undefined),
      async deliver() {
        const { chunk, target } = await held;
        const closed = once(target, "close");
        target.end(chunk);
        await closed;
      },
    };
  };
  const link: FaultyLink = {
    url: `nats://127.0.0.1:${address.port}`,
    isDown: false,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    loseAnswersTo: (text) => lose(text, "answer"),
    loseRequest: (text) => lose(text, "request"),
    holdRequest: hold,
    heal() {
      loss = undefined;
      link.isDown = false;
    },
    async close() {
      link.cut();
      server.close();
      await once(server, "close");
    },
  };
  return link;
}
