/** The buckets in an order that the headings choose. */
import { Link } from "@tanstack/react-router";
import type { Bucket } from "@ironflow-kv/client/gen";
import type { JSX, KeyboardEvent } from "react";
import type { KeyCount } from "../../api/bucket-queries.js";
import { formatBytes, formatCount } from "../../ui/format.js";
import { revisionsOf, ttlOf } from "./bucket-facts.js";

/** A row: a bucket and the number of its keys. */
type Row = readonly [bucket: Bucket, keys: KeyCount];

/** The columns that sort; numbers from the largest. The service lists buckets by name. */
const COMPARISONS = {
  name: ([one]: Row, [other]: Row) => (one.name < other.name ? -1 : 1),
  keys: ([, one = -1n]: Row, [, other = -1n]: Row) => Number(other - one),
  size: ([one]: Row, [other]: Row) => Number(other.bytes - one.bytes),
} as const;
type Column = keyof typeof COMPARISONS;

export interface BucketTableProps {
  readonly buckets: readonly Bucket[];
  /** The number of keys of each bucket that is counted. */
  readonly keys: ReadonlyMap<string, bigint>;
  /** A column, with a minus for the opposite order. Undefined: by name. */
  readonly sort: string | undefined;
  readonly onSort: (sort: string) => void;
}

export function BucketTable({ buckets, keys, sort = "name", onSort }: BucketTableProps): JSX.Element {
  const isReversed = sort.startsWith("-");
  const name = sort.replace("-", "");
  const column: Column = name === "keys" || name === "size" ? name : "name";
  const sorted = buckets.map((bucket): Row => [bucket, keys.get(bucket.name)]).sort(COMPARISONS[column]);
  if (isReversed) sorted.reverse();
  const heading = (own: Column, text: string): JSX.Element => {
    const isNumber = own !== "name";
    const isAscending = isNumber === isReversed;
    return (
      <th
        scope="col"
        className={isNumber ? "end" : ""}
        {...(own === column ? { "aria-sort": isAscending ? "ascending" : "descending" } : {})}
      >
        <button
          type="button"
          className="sort-button"
          onClick={() => onSort(own === column && !isReversed ? `-${own}` : own)}
        >
          {text}
          <span aria-hidden="true" className="sort-mark">
            {own === column ? (isAscending ? "▲" : "▼") : ""}
          </span>
        </button>
      </th>
    );
  };
  return (
    <div className="table-wrap card">
      <table className="table" onKeyDown={moveByArrows}>
        <thead>
          <tr>
            {heading("name", "Bucket")}
            {heading("keys", "Keys")}
            {heading("size", "Size")}
            <th scope="col">Entries live</th>
            <th scope="col">History</th>
            <th scope="col" className="end">
              Limit
            </th>
          </tr>
        </thead>
        <tbody>
          {sorted.map(([bucket, count]) => (
            <tr key={bucket.name}>
              <th scope="row">
                <Link to="/buckets/$bucket" params={{ bucket: bucket.name }} className="row-link">
                  {bucket.name}
                </Link>
                {bucket.description !== "" && <bdi className="soft row-note">{bucket.description}</bdi>}
              </th>
              <td className="end number">{count === undefined ? "…" : formatCount(count)}</td>
              <td className="end number">{formatBytes(bucket.bytes)}</td>
              <td>{ttlOf(bucket)}</td>
              <td>{revisionsOf(bucket)}</td>
              <td className="end number">{bucket.maxBytes === 0n ? "none" : formatBytes(bucket.maxBytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Arrows move the focus from the link of a bucket to that of the one above or below. */
function moveByArrows(event: KeyboardEvent<HTMLTableElement>): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>(".row-link")];
  const at = links.findIndex((link) => link === document.activeElement);
  const next = links[at === -1 ? 0 : at + step];
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
}
