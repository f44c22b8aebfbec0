/** A small bar chart of counts over time. */
import type { JSX } from "react";

const HEIGHT = 36;

export interface SparklineProps {
  readonly values: readonly number[];
  /** What the chart shows, for people who can't see it. */
  readonly label: string;
}

export function Sparkline({ values, label }: SparklineProps): JSX.Element {
  const highest = Math.max(1, ...values);
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${values.length} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {values.map((value, index) => {
        const height = value === 0 ? 0.5 : Math.max(2, (value / highest) * HEIGHT);
        return <rect key={index} x={index + 0.1} y={HEIGHT - height} width={0.8} height={height} />;
      })}
    </svg>
  );
}
