/** Metrics of the connections and of HTTP/2, read on each scrape. */
import type { WireState } from "../kv/wire-state.js";
import { counter, gauge, type MetricDefinition, type Sample } from "./metric.js";

export function wireMetrics(
  state: () => WireState,
  watchQueueBytes: () => number,
): readonly MetricDefinition[] {
  const byCode = (counts: ReadonlyMap<string, number>, labels: Sample["labels"] = {}): readonly Sample[] =>
    [...counts].map(([code, value]) => ({ labels: { ...labels, code }, value }));
  return [
    gauge("ironflow_connections", "Open client connections.", () => state().connections),
    {
      name: "ironflow_http2_goaways_total",
      help: "HTTP/2 connections that the service ended, by error code. ENHANCE_YOUR_CALM: the client exceeded a limit.",
      type: "counter",
      read: () => byCode(state().goAways),
    },
    {
      name: "ironflow_http2_stream_resets_total",
      help: "HTTP/2 streams that the service reset, by error code. REFUSED_STREAM: not processed, because of a limit.",
      type: "counter",
      read: () => byCode(state().resets),
    },
    counter(
      "ironflow_http2_client_resets_total",
      "HTTP/2 streams that clients reset: canceled calls and ended watches.",
      () => state().clientResets,
    ),
    {
      name: "ironflow_held_bytes",
      help: "Bytes held for clients, by kind: requests without a response (TOTAL_INCOMPLETE_REQUEST_BYTES_MAX), responses that wait to be sent (TOTAL_UNSENT_RESPONSE_BYTES_MAX) and events that wait for watchers (TOTAL_WATCH_QUEUE_BYTES_MAX).",
      type: "gauge",
      read: () => {
        const { incompleteRequestBytes, unsentResponseBytes } = state();
        return [
          { labels: { kind: "incomplete_requests" }, value: incompleteRequestBytes },
          { labels: { kind: "unsent_responses" }, value: unsentResponseBytes },
          { labels: { kind: "watch_queues" }, value: watchQueueBytes() },
        ];
      },
    },
  ];
}
