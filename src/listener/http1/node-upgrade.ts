/** A request to switch protocols, from Node's HTTP/1.1 server. */
import { type IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Exchange, Upgrade } from "../../protocol/exchange.js";
import type { MemoryBudgets } from "../memory-budgets.js";
import { NodeHttp1Exchange } from "./node-exchange.js";
import { NodeRequest } from "./node-request.js";

export class NodeUpgrade extends NodeRequest implements Upgrade {
  readonly httpVersion = "1.1";

  constructor(
    request: IncomingMessage,
    readonly socket: Duplex,
    readonly head: Buffer,
    private readonly budgets?: MemoryBudgets,
  ) {
    super(request);
    // Without a listener, a reset by the client would crash the process.
    socket.on("error", () => undefined);
  }

  get isClosed(): boolean {
    return this.socket.destroyed;
  }

  onAbandoned(listener: () => void): void {
    if (this.socket.destroyed) listener();
    else this.socket.once("close", listener);
  }

  countUnsent(): void {
    this.budgets?.countUnsent(this.socket);
  }

  decline(): Exchange {
    const { request, socket } = this;
    if (!(socket instanceof Socket)) throw new Error("The connection of an upgrade is no socket.");
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once("finish", () => socket.end());
    return new NodeHttp1Exchange(request, response, false, this.budgets);
  }
}
