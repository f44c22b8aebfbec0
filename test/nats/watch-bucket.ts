/** A bucket's stream as docs/ARCHITECTURE.md says that buckets are stored, made without the store: what watches are tested against. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { streamName, subjectOf, subjectPrefix } from "../../src/kv/names.js";

export interface TestBucketOptions {
  readonly history?: number;
  readonly ttlMs?: number;
  readonly markerTtlMs?: number;
  readonly replicas?: number;
}

/** What a busy machine may need for a request. */
const PATIENCE_MS = 60_000;

export class TestBucket {
  private constructor(
    readonly name: string,
    private readonly connection: NatsConnection,
  ) {}

  static async create(
    connection: NatsConnection,
    name: string,
    options: TestBucketOptions = {},
  ): Promise<TestBucket> {
    await api(connection, `STREAM.CREATE.${streamName(name)}`, {
      name: streamName(name),
      subjects: [`${subjectPrefix(name)}>`],
      storage: "file",
      max_msgs_per_subject: options.history ?? 1,
      discard: "new",
      allow_direct: true,
      allow_rollup_hdrs: true,
      deny_delete: true,
      num_replicas: options.replicas ?? 1,
      duplicate_window: Math.min(options.ttlMs ?? 120_000, 120_000) * 1e6,
      ...(options.ttlMs === undefined
        ? {}
        : {
            max_age: options.ttlMs * 1e6,
            allow_msg_ttl: true,
            subject_delete_marker_ttl: (options.markerTtlMs ?? 60_000) * 1e6,
          }),
    });
    return new TestBucket(name, connection);
  }

  /** With an id, the same write sent twice is stored once. */
  async put(key: string, value: string, id?: string): Promise<bigint> {
    const subject = subjectOf(this.name, key);
    const options = id === undefined ? {} : { msgID: id };
    // Where it can be sent again, it is not waited for long: an answer may have got lost with the server.
    const timeout = id === undefined ? PATIENCE_MS : 1_000;
    const { seq } = await jetstream(this.connection, { timeout }).publish(subject, value, options);
    return BigInt(seq);
  }

  async delete(key: string): Promise<bigint> {
    return this.tombstone(key, { "KV-Operation": "DEL" });
  }

  async purge(key: string): Promise<bigint> {
    return this.tombstone(key, { "KV-Operation": "PURGE", "Nats-Rollup": "sub" });
  }

  /** Removes everything, past the service: nothing tells watches. */
  async purgeStream(): Promise<void> {
    await api(this.connection, `STREAM.PURGE.${streamName(this.name)}`, {});
  }

  async remove(): Promise<void> {
    await api(this.connection, `STREAM.DELETE.${streamName(this.name)}`, {});
  }

  async revision(): Promise<bigint> {
    const manager = await jetstreamManager(this.connection);
    return BigInt((await manager.streams.info(streamName(this.name))).state.last_seq);
  }

  async createdAtMs(): Promise<number> {
    const manager = await jetstreamManager(this.connection);
    return Date.parse((await manager.streams.info(streamName(this.name))).created);
  }

  /** Consumers on the server. */
  async consumers(): Promise<number> {
    const manager = await jetstreamManager(this.connection);
    return (await manager.streams.info(streamName(this.name))).state.consumer_count;
  }

  private async tombstone(key: string, fields: Record<string, string>): Promise<bigint> {
    const marks = headers();
    for (const [name, value] of Object.entries(fields)) marks.set(name, value);
    const client = jetstream(this.connection, { timeout: PATIENCE_MS });
    const { seq } = await client.publish(subjectOf(this.name, key), "", { headers: marks });
    return BigInt(seq);
  }
}

async function api(connection: NatsConnection, subject: string, body: object): Promise<void> {
  const answer = (
    await connection.request(`$JS.API.${subject}`, JSON.stringify(body), { timeout: PATIENCE_MS })
  ).json<{
    error?: { description: string };
  }>();
  if (answer.error !== undefined) throw new Error(`${subject}: ${answer.error.description}`);
}
