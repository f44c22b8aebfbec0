/** Service metrics besides calls: watches, NATS connections, stored data. */
import type { Registry } from "prom-client";
import type { BucketSize, GroupCommitStats, KeyIndexStats } from "../kv/store-stats.js";
import type { WireState } from "../kv/wire-state.js";
import { addMetric, counter, gauge, type MetricDefinition, type Sample, single } from "./metric.js";
import { wireMetrics } from "./wire-metrics.js";

/** The sources of the metrics, read on each scrape. */
export interface ServiceState {
  wire(): WireState;
  /** Bytes in the queues of all watches. What several of them hold counts once. */
  watchQueueBytes(): number;
  /** Calls that failed with an internal error since the start. */
  faults(): number;
  watches(): WatchState;
  readonly nats: {
    readonly isConnected: boolean;
    readonly connections: readonly NatsConnectionState[];
  };
  /** The disk of the embedded server; undefined with an external NATS server. */
  readonly disk: DiskState | undefined;
  compactedTombstones(): number;
  keyIndexes(): KeyIndexStats;
  groupCommits(): GroupCommitStats | undefined;
  /** Rejects if the storage does not answer. */
  sizes(): Promise<readonly BucketSize[]>;
}

export interface DiskState {
  readonly freeBytes: number;
  /** The free space to keep. */
  readonly keepBytes: number;
  /** Whether writes of values are accepted. */
  readonly hasRoom: boolean;
}

export interface NatsConnectionState {
  /** What the connection is used for: `calls` or `bulk`. */
  readonly use: string;
  readonly disconnects: number;
  readonly reconnects: number;
  readonly unreadBytes: number;
  readonly unreadBytesPeak: number;
}

export interface WatchState {
  /** One per watched bucket. */
  readonly hubs: readonly {
    readonly catchingUp: number;
    readonly queuedEvents: number;
    readonly queuedBytes: number;
    readonly lagEvents: number;
  }[];
  readonly watchers: number;
  readonly slowWatchers: number;
}

/** The minimum interval between requests for sizes, the only metrics that load the storage. */
const SIZES_AGE_MS_MAX = 10_000;

/** Adds the metrics; `perBucket` adds two for each bucket. */
export function addServiceMetrics(registry: Registry, state: ServiceState, perBucket: boolean): void {
  const sizes = new RecentSizes(() => state.sizes());
  const hubs = (value: (hub: WatchState["hubs"][number]) => number): number[] =>
    state.watches().hubs.map(value);
  const definitions: readonly MetricDefinition[] = [
    ...wireMetrics(
      () => state.wire(),
      () => state.watchQueueBytes(),
    ),
    counter(
      "ironflow_faults_total",
      "Calls that failed with an internal error. Each one is logged with its cause.",
      () => state.faults(),
    ),
    gauge("ironflow_watches", "Open watches.", () => state.watches().watchers),
    gauge("ironflow_watched_buckets", "Buckets with open watches.", () => state.watches().hubs.length),
    gauge("ironflow_watches_catching_up", "Watches that are still reading stored entries.", () =>
      sum(hubs(({ catchingUp }) => catchingUp)),
    ),
    gauge("ironflow_watch_queue_events", "Events queued for watchers.", () =>
      sum(hubs(({ queuedEvents }) => queuedEvents)),
    ),
    gauge(
      "ironflow_watch_queue_bytes",
      "Bytes of keys and values queued for watchers. What several of them wait for counts for each.",
      () => sum(hubs(({ queuedBytes }) => queuedBytes)),
    ),
    {
      ...gauge(
        "ironflow_watch_lag_events",
        "Changes that the storage had not delivered yet at the last delivery, for the bucket with the most.",
        () => Math.max(0, ...hubs(({ lagEvents }) => lagEvents)),
      ),
      aggregator: "max",
    },
    counter(
      "ironflow_slow_watches_total",
      "Watches that were ended because the client read too slowly.",
      () => state.watches().slowWatchers,
    ),
    {
      ...gauge("ironflow_nats_connected", "1 if all connections to NATS are up, otherwise 0.", () =>
        state.nats.isConnected ? 1 : 0,
      ),
      aggregator: "min",
    },
    ...natsConnectionMetrics(() => state.nats.connections),
    ...(state.disk === undefined ? [] : diskMetrics(state.disk)),
    counter("ironflow_tombstones_compacted_total", "Tombstones removed by compaction.", () =>
      state.compactedTombstones(),
    ),
    gauge("ironflow_key_indexes", "Buckets whose key index is in memory.", () => state.keyIndexes().buckets),
    gauge("ironflow_key_index_keys", "Keys in these indexes.", () => state.keyIndexes().keys),
    gauge("ironflow_key_index_bytes", "Memory of these indexes.", () => state.keyIndexes().bytes),
    counter(
      "ironflow_key_index_loads_total",
      "Key indexes that were loaded.",
      () => state.keyIndexes().loads,
    ),
    counter(
      "ironflow_key_index_restores_total",
      "Those of them that began with a copy from a file.",
      () => state.keyIndexes().restores,
    ),
    counter(
      "ironflow_key_index_waits_total",
      "Lists and counts that waited until the key index had applied earlier writes.",
      () => state.keyIndexes().waits,
    ),
    counter(
      "ironflow_group_commit_batches_total",
      "Batches of writes that were sent to the storage together.",
      () => state.groupCommits()?.batches ?? 0,
    ),
    counter(
      "ironflow_group_commit_writes_total",
      "Writes in those batches.",
      () => state.groupCommits()?.writes ?? 0,
    ),
    counter(
      "ironflow_group_commit_refused_total",
      "Batches that the storage refused. Their writes were sent again, each alone.",
      () => state.groupCommits()?.refused ?? 0,
    ),
    counter(
      "ironflow_group_commit_staged_total",
      "Batches that the embedded server staged in memory instead of on disk.",
      () => state.groupCommits()?.staged ?? 0,
    ),
    stored("ironflow_store_buckets", "Buckets.", () => sizes.total(() => 1)),
    stored("ironflow_store_bytes", "Bytes stored in all buckets, including history and tombstones.", () =>
      sizes.total(({ bytes }) => bytes),
    ),
    stored("ironflow_store_entries", "Entries in all buckets, including history and tombstones.", () =>
      sizes.total(({ entries }) => entries),
    ),
  ];
  for (const definition of definitions) addMetric(registry, definition);
  if (!perBucket) return;
  addMetric(
    registry,
    stored("ironflow_bucket_bytes", "Bytes stored in a bucket (METRICS_PER_BUCKET).", () =>
      sizes.each(({ bytes }) => bytes),
    ),
  );
  addMetric(
    registry,
    stored("ironflow_bucket_entries", "Entries in a bucket (METRICS_PER_BUCKET).", () =>
      sizes.each(({ entries }) => entries),
    ),
  );
}

function diskMetrics(disk: DiskState): readonly MetricDefinition[] {
  const definitions: readonly MetricDefinition[] = [
    gauge("ironflow_disk_free_bytes", "Free bytes on the embedded server's disk.", () => disk.freeBytes),
    gauge(
      "ironflow_disk_reserve_bytes",
      "Bytes that the service keeps free on that disk.",
      () => disk.keepBytes,
    ),
    gauge("ironflow_disk_has_room", "1 if values are accepted, 0 if that disk is nearly full.", () =>
      disk.hasRoom ? 1 : 0,
    ),
  ];
  return definitions.map((definition) => ({ ...definition, aggregator: "min" }));
}

/** Caches the sizes for a few seconds; empty while the storage does not answer. */
class RecentSizes {
  private sizes: Promise<readonly BucketSize[] | undefined> | undefined;
  private fetchedMs = 0;

  constructor(private readonly fetch: () => Promise<readonly BucketSize[]>) {}

  async total(value: (size: BucketSize) => number): Promise<readonly Sample[]> {
    const sizes = await this.get();
    return sizes === undefined ? [] : single(sum(sizes.map(value)));
  }

  async each(value: (size: BucketSize) => number): Promise<readonly Sample[]> {
    const sizes = (await this.get()) ?? [];
    return sizes.map((size) => ({ labels: { bucket: size.bucket }, value: value(size) }));
  }

  private get(): Promise<readonly BucketSize[] | undefined> {
    if (this.sizes === undefined || performance.now() - this.fetchedMs > SIZES_AGE_MS_MAX) {
      this.fetchedMs = performance.now();
      this.sizes = this.fetch().catch(() => (this.sizes = undefined));
    }
    return this.sizes;
  }
}

/** One sample for each connection to NATS. */
function natsConnectionMetrics(
  connections: () => readonly NatsConnectionState[],
): readonly MetricDefinition[] {
  const metric = (
    type: "counter" | "gauge",
    name: string,
    help: string,
    value: (connection: NatsConnectionState) => number,
  ): MetricDefinition => ({
    ...{ name, help, type },
    read: () =>
      connections().map((connection) => ({
        labels: { connection: connection.use },
        value: value(connection),
      })),
  });
  return [
    metric(
      "counter",
      "ironflow_nats_disconnects_total",
      "Lost connections to NATS.",
      ({ disconnects }) => disconnects,
    ),
    metric(
      "counter",
      "ironflow_nats_reconnects_total",
      "Connections to NATS that were re-established.",
      ({ reconnects }) => reconnects,
    ),
    metric(
      "gauge",
      "ironflow_nats_unread_bytes",
      "Bytes reserved for replies from NATS that have not arrived yet (NATS_UNREAD_BYTES_MAX).",
      ({ unreadBytes }) => unreadBytes,
    ),
    {
      ...metric(
        "gauge",
        "ironflow_nats_unread_bytes_peak",
        "The peak of ironflow_nats_unread_bytes since the start.",
        ({ unreadBytesPeak }) => unreadBytesPeak,
      ),
      aggregator: "max",
    },
  ];
}

/** Aggregated by max, because every worker reports the same storage. */
function stored(name: string, help: string, read: () => Promise<readonly Sample[]>): MetricDefinition {
  return { name, help, type: "gauge", aggregator: "max", read };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
