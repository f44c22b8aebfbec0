/** The reserved bytes of what one subscription asked for, until they have arrived or can't arrive any more. */
import type { Subscription } from "@nats-io/transport-node";
import type { Link } from "../client/link.js";
import type { Reservation } from "../client/reservation.js";

export class AskedBytes {
  private readonly held = new Set<Reservation>();
  private isClosed = false;
  private readonly stopListening: () => void;

  constructor(private readonly link: Link) {
    // What was on its way is gone with the connection.
    this.stopListening = link.onDisconnect(() => this.complete());
  }

  /** Reserves, when there is room, and calls `ask`, which returns whether it asked. A bulk read (`bulkBytes`) waits for its turn too. */
  reserve(bytesMax: number, ask: () => boolean, flow?: unknown, bulkBytes?: number): void {
    this.link.reserve({
      ...{ bytesMax, bulkBytes, flow },
      isWanted: () => !this.isClosed,
      send: (reservation) => {
        this.held.add(reservation);
        if (ask()) return;
        this.held.delete(reservation);
        reservation.complete();
      },
    });
  }

  /** Some of it is here. */
  arrived(bytes: number): void {
    const [oldest] = this.held;
    oldest?.arrived(bytes);
  }

  /** All of it is here. */
  complete(): void {
    const held = [...this.held];
    this.held.clear();
    for (const reservation of held) reservation.complete();
  }

  /**
   * Ends the subscription. The server sends nothing more on it once it has read that, and everything before when it answers the ping that
   * follows.
   */
  async close(subscription: Subscription): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    try {
      if (!this.link.connection.isClosed()) subscription.unsubscribe();
      if (this.held.size > 0) await this.link.connection.flush();
    } catch {
      // The connection is gone, and all that was on its way.
    } finally {
      this.stopListening();
      this.complete();
    }
  }
}
