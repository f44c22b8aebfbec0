/** The reserved bytes of what one subscription asked for, until they have arrived or can't arrive any more. */
import type { Subscription } from "@nats-io/transport-node";
import type { Link } from "../client/link.js";

export class AskedBytes {
  private held = 0;
  private isClosed = false;
  private readonly stopListening: () => void;

  constructor(private readonly link: Link) {
    // What was on its way is gone with the connection.
    this.stopListening = link.onDisconnect(() => this.complete());
  }

  /** Reserves, when there is room, and calls `ask`, which returns whether it asked. */
  reserve(bytes: number, ask: () => boolean): void {
    const reserved = this.link.unread.sizeOf(bytes);
    this.link.unread.reserve(reserved, () => {
      if (this.isClosed) return false;
      this.held += reserved;
      if (ask()) return true;
      this.held -= reserved;
      return false;
    });
  }

  /** Some of it is here. */
  arrived(bytes: number): void {
    const arrived = Math.min(bytes, this.held);
    this.held -= arrived;
    this.link.unread.release(arrived);
  }

  /** All of it is here. */
  complete(): void {
    this.arrived(this.held);
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
      if (this.held > 0) await this.link.connection.flush();
    } catch {
      // The connection is gone, and all that was on its way.
    } finally {
      this.stopListening();
      this.complete();
    }
  }
}
