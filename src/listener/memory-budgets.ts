/** The bytes that all connections of a listener together may hold. */
import type { Duplex } from "node:stream";
import { type ByteAccount, ByteBudget } from "@ironflow-kv/http2";
import type { Limits } from "../kv/limits.js";

export class MemoryBudgets {
  /** Requests without a response: their heads, and their bodies as far as they have arrived. */
  readonly incompleteRequests: ByteBudget;
  /** Responses that wait to be sent. */
  readonly unsentResponses: ByteBudget;
  private readonly sockets = new WeakMap<Duplex, ByteAccount>();

  constructor(limits: Pick<Limits, "totalIncompleteRequestBytesMax" | "totalUnsentResponseBytesMax">) {
    this.incompleteRequests = new ByteBudget(limits.totalIncompleteRequestBytesMax);
    this.unsentResponses = new ByteBudget(limits.totalUnsentResponseBytesMax);
  }

  /** Counts what a connection of HTTP/1.1 has not sent yet; call it after each write. Above the budget, the largest connection is destroyed. */
  countUnsent(socket: Duplex): void {
    if (!socket.writableNeedDrain) return;
    const account = this.sockets.get(socket) ?? this.openAccount(socket);
    account.set(socket.writableLength);
  }

  private openAccount(socket: Duplex): ByteAccount {
    const account = this.unsentResponses.open(() => {
      socket.destroy();
      account.set(0);
    });
    this.sockets.set(socket, account);
    socket.on("drain", () => account.set(0));
    socket.once("close", () => account.close());
    return account;
  }
}
