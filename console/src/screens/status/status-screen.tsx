/** The state of the instance of the service that answers. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { InstanceStatus } from "@ironflow-kv/client/gen";
import type { JSX } from "react";
import { useStatus } from "../../api/access.js";
import { sentenceOf } from "../../api/errors.js";
import { formatBytes, formatCount, formatSeconds, formatTime } from "../../ui/format.js";
import { Loading, Notice } from "../../ui/states.js";
import { DURABILITIES } from "../buckets/bucket-facts.js";

export function StatusScreen(): JSX.Element {
  const { data, error, isPending } = useStatus(5_000);
  return (
    <div className="page">
      <header className="page-head">
        <h1>Status</h1>
      </header>
      {isPending && <Loading what="the status" />}
      {error !== null && <Notice>{sentenceOf(error)}</Notice>}
      {data !== undefined && data.instance === undefined && (
        <Notice kind="info">
          This API key may not see the state of the service: it needs the scope admin on *. You are signed in
          as <code>{data.caller?.id}</code>.
        </Notice>
      )}
      {data?.instance !== undefined && <Instance status={data.instance} />}
    </div>
  );
}

function Instance({ status }: { readonly status: InstanceStatus }): JSX.Element {
  const { serving, warnings, startedAt, diskFreeBytes, diskReserveBytes, natsCluster: cluster } = status;
  const startedMs = startedAt === undefined ? undefined : timestampMs(startedAt);
  const cards: readonly (readonly [name: string, value: string, note: string])[] = [
    [
      "Storage",
      `NATS ${status.natsVersion}`,
      status.externalStorage ? "external server, NATS_URL" : "runs with the service",
    ],
    [
      "Cluster",
      cluster === undefined ? "Single server" : cluster.name,
      cluster === undefined
        ? status.natsServerName
        : `connected to ${status.natsServerName}; ${advertised(cluster.serverAddresses)}`,
    ],
    ["Acknowledged writes", "", DURABILITIES[status.durability]],
    ["Client connections", formatCount(status.connections), "open now"],
    [
      "Watches",
      formatCount(status.watches),
      `of ${formatCount(status.watchedBuckets)} ${status.watchedBuckets === 1 ? "bucket" : "buckets"}`,
    ],
    ...(startedMs === undefined
      ? []
      : [
          [
            "Running for",
            formatSeconds((Date.now() - startedMs) / 1_000),
            `since ${formatTime(startedMs)}`,
          ] as const,
        ]),
    ...(diskFreeBytes === undefined
      ? []
      : [
          [
            "Free disk space",
            formatBytes(diskFreeBytes),
            `writes stop below ${formatBytes(diskReserveBytes ?? 0n)}`,
          ] as const,
        ]),
  ];
  return (
    <>
      <p className={`health ${serving ? "health-good" : "health-bad"}`} role="status">
        {serving
          ? "The service is ready: it accepts calls, and its storage answers."
          : "The service is not ready: its storage does not answer."}
      </p>
      {warnings.map((warning) => (
        <Notice key={warning} kind="warning">
          {warning}
        </Notice>
      ))}
      <dl className="cards">
        {cards.map(([name, value, note]) => (
          <div key={name} className="card status-card">
            <dt className="soft">{name}</dt>
            <dd>
              {value !== "" && <strong className="number">{value}</strong>}
              <span className={value === "" ? "" : "soft"}>{note}</span>
            </dd>
          </div>
        ))}
      </dl>
      <p className="soft">
        With several instances or workers, these are the numbers of the one that answered. All metrics:{" "}
        <a href="/metrics">/metrics</a>.
      </p>
    </>
  );
}

/** What the connected server tells about the servers of its cluster. */
function advertised(addresses: readonly string[]): string {
  return addresses.length === 0 ? "it advertises no addresses" : `known servers: ${addresses.join(", ")}`;
}
