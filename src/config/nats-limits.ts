/** The limits of the start and the supervision of NATS that are settings. */
import type { Limits } from "../kv/limits.js";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;

/** See `LIMIT_TABLE`. */
export const NATS_LIMITS: readonly (readonly [keyof Limits, number, number, string])[] = [
  [
    "natsStartTimeoutMs",
    SECOND_MS,
    24 * HOUR_MS,
    "How long the embedded nats-server may take to be ready after its start, in milliseconds. It reads its files first, which takes minutes with hundreds of gigabytes.",
  ],
  [
    "natsHungTimeoutMs",
    SECOND_MS,
    HOUR_MS,
    "How long the embedded nats-server may be unresponsive before the service restarts it, in milliseconds.",
  ],
  [
    "natsConnectTimeoutMs",
    100,
    HOUR_MS,
    "The timeout for reaching the NATS server of NATS_URL when the service starts, in milliseconds. Later requests to NATS use the deadline of their call.",
  ],
];
