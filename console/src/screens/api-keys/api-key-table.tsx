import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ApiKey } from "@ironflow-kv/client/gen";
import type { JSX } from "react";
import { formatAgo, formatTime } from "../../ui/format.js";
import { Menu } from "../../ui/menu.js";
import { accessName } from "./access-names.js";

export interface ApiKeyTableProps {
  readonly apiKeys: readonly ApiKey[];
  readonly onRotate: (apiKey: ApiKey) => void;
  readonly onRevoke: (apiKey: ApiKey) => void;
}

export function ApiKeyTable({ apiKeys, onRotate, onRevoke }: ApiKeyTableProps): JSX.Element {
  return (
    <div className="table-wrap card">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">Scopes</th>
            <th scope="col">Created</th>
            <th scope="col">Expires</th>
            <th scope="col">
              <span className="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {apiKeys.map((apiKey) => (
            <tr key={apiKey.id}>
              <th scope="row">
                <bdi>{apiKey.name}</bdi>
                <span className="soft row-note mono">{apiKey.id}</span>
              </th>
              <td>
                {apiKey.scopes.map(({ accesses, buckets }, index) => (
                  <div key={index}>
                    {accesses.map(accessName).join(", ")} <span className="soft">on</span>{" "}
                    <code>{buckets}</code>
                  </div>
                ))}
              </td>
              <td className="number">
                {apiKey.createdAt === undefined ? "" : formatAgo(timestampMs(apiKey.createdAt))}
              </td>
              <td className="number">
                <Expiry apiKey={apiKey} />
              </td>
              <td className="end">
                <Menu
                  label={`Actions of ${apiKey.name}`}
                  actions={[
                    { name: "Rotate", icon: "refresh", run: () => onRotate(apiKey) },
                    { name: "Revoke", icon: "trash", isDangerous: true, run: () => onRevoke(apiKey) },
                  ]}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Expiry({ apiKey }: { readonly apiKey: ApiKey }): JSX.Element {
  const { expiresAt, previousSecretExpiresAt } = apiKey;
  const expiresMs = expiresAt === undefined ? undefined : timestampMs(expiresAt);
  const isExpired = expiresMs !== undefined && expiresMs <= Date.now();
  return (
    <>
      {isExpired ? (
        <span className="badge badge-delete">expired</span>
      ) : expiresMs === undefined ? (
        "never"
      ) : (
        formatTime(expiresMs)
      )}
      {previousSecretExpiresAt !== undefined && (
        <span className="soft row-note">
          previous secret until {formatTime(timestampMs(previousSecretExpiresAt))}
        </span>
      )}
    </>
  );
}
