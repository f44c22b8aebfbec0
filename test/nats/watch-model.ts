/** What a watch must show, told from the list of all that was written: the model of a bucket. */
import { matchesAny, parseFilters } from "../../src/kv/filter.js";
import { escapeKey } from "../../src/kv/names.js";
import type { Operation } from "../../src/kv/entry.js";
import type { WatchEvent, WatchOptions } from "../../src/kv/watch.js";

/** One write that was acknowledged. */
export interface Written {
  readonly revision: bigint;
  readonly key: string;
  readonly operation: Operation;
  readonly value: string;
  /** When it was begun, by a clock that counts. */
  readonly begunAt: number;
}

/** A watch that was read up to a revision. */
export interface Watched {
  readonly options: WatchOptions;
  readonly events: readonly WatchEvent[];
  /** The newest revision that was acknowledged before the watch was asked for. */
  readonly revisionBefore: bigint;
  /** When the watch was in place, by the clock of the writes. */
  readonly placedAt: number;
  /** Every matching change up to here was to be seen. */
  readonly readUpTo: bigint;
}

export interface Findings {
  readonly missed: string[];
  readonly doubled: string[];
  readonly reordered: string[];
  /** Events that are not what was written, or that were not asked for. */
  readonly wrong: string[];
}

/**
 * Compares a watch with the model. `history`: revisions that the bucket keeps per key: a change may only be left out where as many later ones
 * of its key, or a purge, or the snapshot's own newest value, had replaced it before it could be seen.
 */
export function compare(written: readonly Written[], watched: Watched, history: number): Findings {
  const findings: Findings = { missed: [], doubled: [], reordered: [], wrong: [] };
  const { options, events } = watched;
  const filters = parseFilters(options.filters);
  const matching = written.filter((change) => matchesAny(filters, escapeKey(change.key)));
  const byRevision = new Map(matching.map((change) => [change.revision, change]));
  const seen = new Set<bigint>();
  let last = 0n;
  let snapshotEnd: bigint | undefined;
  let complete = 0n;
  /** By key: the revision of its value that the client has. */
  const held = liveAt(matching, typeof options.start === "object" ? options.start.revision - 1n : 0n);
  for (const event of events) {
    if (event.type === "progress") {
      complete = event.revision;
      continue;
    }
    if (event.type === "snapshot_end") {
      if (snapshotEnd !== undefined || last > event.revision)
        findings.wrong.push("a second or late end of the snapshot");
      snapshotEnd = event.revision;
      findings.wrong.push(...differences(held, liveAt(matching, event.revision), options));
      continue;
    }
    const { revision, key, operation } = event.entry;
    const name = `${operation} ${key} @${String(revision)}`;
    if (seen.has(revision)) findings.doubled.push(name);
    else if (revision < last) findings.reordered.push(name);
    if (revision <= complete) findings.wrong.push(`${name} after progress said ${String(complete)}`);
    seen.add(revision);
    last = revision;
    if (operation === "put") held.set(key, revision);
    else held.delete(key);
    const change = byRevision.get(revision);
    const value = options.keysOnly === true ? "" : change?.value;
    if (
      change?.key !== key ||
      change.operation !== operation ||
      Buffer.from(event.entry.value).toString() !== value ||
      (options.ignoreDeletes === true && operation !== "put")
    ) {
      findings.wrong.push(name);
    }
    checkPrevious(event, matching, findings);
  }
  if ((options.start === "now") !== (snapshotEnd === undefined))
    findings.wrong.push("the end of the snapshot");
  if (options.start === "now" && [...seen].some((revision) => revision <= watched.revisionBefore)) {
    findings.wrong.push("a change before now");
  }
  findings.missed.push(...missed(matching, seen, watched, history, snapshotEnd ?? 0n));
  return findings;
}

/** The keys that have a value at a revision, each with the value's revision. */
function liveAt(matching: readonly Written[], revision: bigint): Map<string, bigint> {
  const live = new Map<string, bigint>();
  for (const change of matching) {
    if (change.revision > revision) break;
    if (change.operation === "put") live.set(change.key, change.revision);
    else live.delete(change.key);
  }
  return live;
}

/** What a client has wrong at the end of the snapshot. A client that ignores deletes keeps what was deleted. */
function differences(
  held: ReadonlyMap<string, bigint>,
  live: ReadonlyMap<string, bigint>,
  { ignoreDeletes }: WatchOptions,
): string[] {
  const found: string[] = [];
  for (const [key, revision] of live)
    if (held.get(key) !== revision)
      found.push(`at the end of the snapshot, ${key} @${String(revision)} is missing`);
  for (const key of held.keys())
    if (!live.has(key) && ignoreDeletes !== true)
      found.push(`at the end of the snapshot, ${key} has no value any more`);
  return found;
}

function missed(
  matching: readonly Written[],
  seen: ReadonlySet<bigint>,
  watched: Watched,
  history: number,
  snapshotEnd: bigint,
): string[] {
  const { options } = watched;
  const laterByKey = new Map<string, { count: number; isPurged: boolean }>();
  const names: string[] = [];
  for (const change of matching.toReversed()) {
    const later = laterByKey.get(change.key) ?? { count: 0, isPurged: false };
    laterByKey.set(change.key, later);
    const isAsked = comesAfterStart(change, watched) && change.revision <= watched.readUpTo;
    const isLeftOut = options.ignoreDeletes === true && change.operation !== "put";
    const inSnapshot = options.start === "snapshot" && change.revision <= snapshotEnd;
    const mayBeReplaced =
      later.count >= history ||
      later.isPurged ||
      (inSnapshot && (later.count > 0 || change.operation !== "put"));
    if (isAsked && !isLeftOut && !mayBeReplaced && !seen.has(change.revision)) {
      names.push(`${change.operation} ${change.key} @${String(change.revision)}`);
    }
    later.count++;
    if (change.operation === "purge") later.isPurged = true;
  }
  return names;
}

function comesAfterStart(change: Written, { options, placedAt }: Watched): boolean {
  if (options.start === "now") return change.begunAt > placedAt;
  return typeof options.start !== "object" || change.revision >= options.start.revision;
}

/** A previous entry, where one came, is the change of the same key before. */
function checkPrevious(
  event: WatchEvent & { type: "change" },
  matching: readonly Written[],
  findings: Findings,
): void {
  if (event.previous === undefined) return;
  const { key, revision } = event.entry;
  const before = matching.findLast((change) => change.key === key && change.revision < revision);
  if (before?.revision !== event.previous.revision)
    findings.wrong.push(`previous of ${key} @${String(revision)}`);
}
