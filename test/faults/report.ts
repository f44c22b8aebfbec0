/** How long a run is, from which numbers it is made, and the lines that it prints. */
import type { Findings } from "./workload.js";

const DEPTH = process.env.FAULTS ?? "short";
/** `npm run test:faults`: the figures of docs/durability.md. */
export const IS_FULL = DEPTH === "full";
/** FAULTS=medium, which `.ci/run` sets, or FAULTS=full. Otherwise a short form that `npm test` can afford. */
export const IS_LONG = IS_FULL || DEPTH === "medium";
/** Set FAULTS_SEED to repeat a run. */
export const SEED = Number(process.env.FAULTS_SEED ?? 1);

/** What this run takes of the three. */
export function times({ full, medium, short }: { full: number; medium: number; short: number }): number {
  if (IS_FULL) return full;
  return IS_LONG ? medium : short;
}

/** Prints a row. */
export function report(scenario: string, findings: Findings | undefined, ...more: string[]): void {
  const figures =
    findings === undefined
      ? []
      : [
          `${findings.operations} calls, ${findings.acknowledged} writes acknowledged, ${findings.unknown} unknown`,
          `lost ${findings.lost}, twice ${findings.appliedTwice}, reported wrongly ${findings.reportedWrongly}`,
          `stale ${findings.stale} of ${findings.reads} reads, violations ${findings.violations}`,
        ];
  console.log(`faults | ${scenario} | ${[...figures, ...more].join(" | ")}`);
}

/** `p50 1.2 s, p99 3.4 s` */
export function percentiles(timesMs: readonly number[]): string {
  const sorted = [...timesMs].sort((left, right) => left - right);
  const at = (share: number): string =>
    ((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) / 1_000).toFixed(2);
  return `p50 ${at(0.5)} s, p99 ${at(0.99)} s`;
}

/** What every scenario must find. */
export const NOTHING_WRONG = { stale: 0, lost: 0, appliedTwice: 0, reportedWrongly: 0, violations: 0 };
