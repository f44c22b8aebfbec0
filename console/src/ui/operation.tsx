/** The names and colours of operations. */
import type { JSX } from "react";

export const OPERATION_NAMES = ["", "put", "delete", "purge", "expire"] as const;

/** `operation`: a number of the contract's enum Operation. */
export function operationName(operation: number): string {
  return OPERATION_NAMES[operation] ?? "unknown";
}

export function OperationBadge({ operation }: { readonly operation: number }): JSX.Element {
  const name = operationName(operation);
  return <span className={`badge badge-${name}`}>{name}</span>;
}
