/** Every message that a stream stores, also those that are overwritten or expire at once: seen through the stream's republishing. */
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";

export interface StoredMessage {
  readonly bucket: string;
  readonly sequence: number;
  /** By the storage's clock, in RFC 3339. */
  readonly storedAt: string;
  /** Empty for messages without one. */
  readonly id: string;
  readonly isPut: boolean;
  readonly value: string;
}

interface StreamConfig {
  readonly republish?: { readonly dest: string };
}

export class StoredMessages {
  readonly all: StoredMessage[] = [];

  private constructor(private readonly connection: NatsConnection) {}

  /** Begins with what is stored from now on. */
  static async of(url: string, buckets: readonly string[]): Promise<StoredMessages> {
    const messages = new StoredMessages(await connect({ servers: url, maxReconnectAttempts: -1 }));
    for (const bucket of buckets) await messages.follow(bucket);
    return messages;
  }

  /** Resolves when all that was stored before has been seen. */
  async close(): Promise<void> {
    await this.connection.flush();
    await this.connection.close();
  }

  private async follow(bucket: string): Promise<void> {
    const stream = `KV_APP_${bucket}`;
    const { config } = await this.ask<{ config: StreamConfig }>(`STREAM.INFO.${stream}`, {});
    const dest = config.republish?.dest ?? `stored.${bucket}.>`;
    this.connection.subscribe(dest.replace(/\{\{.*\}\}/, ">"), {
      callback: (_, message) => {
        const header = (name: string): string => message.headers?.get(name) ?? "";
        if (header("Nats-Stream") !== stream) return;
        this.all.push({
          bucket,
          sequence: Number(header("Nats-Sequence")),
          storedAt: header("Nats-Time-Stamp"),
          id: header("Nats-Msg-Id"),
          isPut: header("KV-Operation") === "" && header("Nats-Marker-Reason") === "",
          value: message.string(),
        });
      },
    });
    if (config.republish !== undefined) return;
    const changed = { ...config, republish: { src: `$KV.APP_${bucket}.>`, dest } };
    await this.ask(`STREAM.UPDATE.${stream}`, changed);
  }

  private async ask<Answer>(operation: string, body: object): Promise<Answer> {
    const reply = await this.connection.request(`$JS.API.${operation}`, JSON.stringify(body));
    const answer = reply.json<Answer & { error?: { description: string } }>();
    if (answer.error !== undefined) throw new Error(answer.error.description);
    return answer;
  }
}
