/** Service metrics besides calls: watches, NATS connections, stored data. */
import type { Registry } from "prom-client";
import type { BucketSize } from "../kv/store.js";
import { addMetric, type MetricDefinition, type Sample, single } from "./metric.js";

/** The sources of the metrics, read on each scrape. */
export interface ServiceFacts {
  connections(): number;
  /** Calls that failed with an internal error since the start. */
  faults(): number;
  watches(): WatchFacts;
  readonly nats: {
    readonly isConnected: boolean;
    readonly connections: readonly NatsConnectionFacts[];
  };
  /** The disk of the embedded server; undefined if it is not visible from here. */
  readonly disk: DiskFacts | undefined;
  compactedTombstones(): number;
  /** Rejects if the storage does not answer. */
  sizes(): Promise<readonly BucketSize[]>;
}

export interface DiskFacts {
  readonly freeBytes: number;
  /** The free space to keep. */
  readonly keepBytes: number;
  /** Whether writes of values are accepted. */
  readonly hasRoom: boolean;
}

export interface NatsConnectionFacts {
  /** `calls` or `bulk`. */
  readonly use: string;
  readonly disconnects: number;
  readonly reconnects: number;
  readonly unreadBytes: number;
  readonly unreadBytesPeak: number;
}

export interface WatchFacts {
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
export function addServiceMetrics(registry: Registry, facts: ServiceFacts, perBucket: boolean): void {
  const sizes = new RecentSizes(() => facts.sizes());
  const hubs = (value: (hub: WatchFacts["hubs"][number]) => number): number[] =>
    facts.watches().hubs.map(value);
  const definitions: readonly MetricDefinition[] = [
    gauge("ironflow_connections", "Open connections.", () => facts.connections()),
    counter("ironflow_faults_total", "Calls that failed by a fault of the service; each is logged.", () =>
      facts.faults(),
    ),
    gauge("ironflow_watches", "Open watches.", () => facts.watches().watchers),
    gauge("ironflow_watched_buckets", "Buckets with watches.", () => facts.watches().hubs.length),
    gauge("ironflow_watches_catching_up", "Watches that are still reading what was stored before.", () =>
      sum(hubs(({ catchingUp }) => catchingUp)),
    ),
    gauge("ironflow_watch_queue_events", "Events that wait for watchers to read them.", () =>
      sum(hubs(({ queuedEvents }) => queuedEvents)),
    ),
    gauge("ironflow_watch_queue_bytes", "Bytes of keys and values that wait for watchers to read them.", () =>
      sum(hubs(({ queuedBytes }) => queuedBytes)),
    ),
    {
      ...gauge(
        "ironflow_watch_lag_events",
        "Changes that the storage had still to deliver when the last one came, of the bucket with the most.",
        () => Math.max(0, ...hubs(({ lagEvents }) => lagEvents)),
      ),
      aggregator: "max",
    },
    counter(
      "ironflow_slow_watches_total",
      "Watches that were ended because their reader was too slow.",
      () => facts.watches().slowWatchers,
    ),
    {
      ...gauge("ironflow_nats_connected", "1 while NATS is connected, else 0.", () =>
        facts.nats.isConnected ? 1 : 0,
      ),
      aggregator: "min",
    },
    ...natsConnectionMetrics(() => facts.nats.connections),
    ...(facts.disk === undefined ? [] : diskMetrics(facts.disk)),
    counter("ironflow_tombstones_compacted_total", "Tombstones of deleted keys that were removed.", () =>
      facts.compactedTombstones(),
    ),
    stored("ironflow_store_buckets", "Buckets.", () => sizes.total(() => 1)),
    stored("ironflow_store_bytes", "Bytes that all buckets take, history and tombstones included.", () =>
      sizes.total(({ bytes }) => bytes),
    ),
    stored("ironflow_store_entries", "Entries in all buckets, history and tombstones included.", () =>
      sizes.total(({ entries }) => entries),
    ),
  ];
  for (const definition of definitions) addMetric(registry, definition);
  if (!perBucket) return;
  addMetric(
    registry,
    stored("ironflow_bucket_bytes", "Bytes that a bucket takes (METRICS_PER_BUCKET).", () =>
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

function diskMetrics(disk: DiskFacts): readonly MetricDefinition[] {
  const definitions: readonly MetricDefinition[] = [
    gauge("ironflow_disk_free_bytes", "Bytes free on the disk of the embedded server.", () => disk.freeBytes),
    gauge("ironflow_disk_reserve_bytes", "Bytes that are to stay free on that disk.", () => disk.keepBytes),
    gauge("ironflow_disk_has_room", "1 while values are taken, 0 while that disk is nearly full.", () =>
      disk.hasRoom ? 1 : 0,
    ),
  ];
  return definitions.map((definition) => ({ ...definition, aggregator: "min" }));
}

/** Caches the sizes for a few seconds; empty while the storage does not answer. */
class RecentSizes {
  private asked: Promise<readonly BucketSize[] | undefined> | undefined;
  private askedMs = 0;

  constructor(private readonly ask: () => Promise<readonly BucketSize[]>) {}

  async total(value: (size: BucketSize) => number): Promise<readonly Sample[]> {
    const sizes = await this.get();
    return sizes === undefined ? [] : single(sum(sizes.map(value)));
  }

  async each(value: (size: BucketSize) => number): Promise<readonly Sample[]> {
    const sizes = (await this.get()) ?? [];
    return sizes.map((size) => ({ labels: { bucket: size.bucket }, value: value(size) }));
  }

  private get(): Promise<readonly BucketSize[] | undefined> {
    if (this.asked === undefined || performance.now() - this.askedMs > SIZES_AGE_MS_MAX) {
      this.askedMs = performance.now();
      this.asked = this.ask().catch(() => (this.asked = undefined));
    }
    return this.asked;
  }
}

/** One sample for each connection to NATS. */
function natsConnectionMetrics(
  connections: () => readonly NatsConnectionFacts[],
): readonly MetricDefinition[] {
  const metric = (
    type: "counter" | "gauge",
    name: string,
    help: string,
    value: (facts: NatsConnectionFacts) => number,
  ): MetricDefinition => ({
    ...{ name, help, type },
    read: () => connections().map((facts) => ({ labels: { connection: facts.use }, value: value(facts) })),
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
      "Connections to NATS that came back.",
      ({ reconnects }) => reconnects,
    ),
    metric(
      "gauge",
      "ironflow_nats_unread_bytes",
      "Bytes reserved for answers of NATS that have not arrived (NATS_UNREAD_BYTES_MAX).",
      ({ unreadBytes }) => unreadBytes,
    ),
    {
      ...metric(
        "gauge",
        "ironflow_nats_unread_bytes_peak",
        "The most bytes that were reserved for answers of NATS at once since the start.",
        ({ unreadBytesPeak }) => unreadBytesPeak,
      ),
      aggregator: "max",
    },
  ];
}

function gauge(name: string, help: string, value: () => number): MetricDefinition {
  return { name, help, type: "gauge", read: () => single(value()) };
}

function counter(name: string, help: string, value: () => number): MetricDefinition {
  return { name, help, type: "counter", read: () => single(value()) };
}

/** Aggregated by max, because every worker reports the same storage. */
function stored(name: string, help: string, read: () => Promise<readonly Sample[]>): MetricDefinition {
  return { name, help, type: "gauge", aggregator: "max", read };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
