/** Line icons, 16 by 16. They are decoration: the element around them has a name. */
import type { JSX } from "react";

const PATHS = {
  bucket: "M2.5 4.5h11M3.5 4.5l.9 8.5h7.2l.9-8.5M5.5 2.5h5",
  live: "M1.5 8h3l2-5 3 10 2-5h3",
  status: "M8 2a6 6 0 1 0 6 6M8 8l3.5-3.5",
  key: "M10.5 2a3.5 3.5 0 1 1-3.2 4.9L2 12.2V14h2.5v-1.7h1.7v-1.7L8.4 8.5",
  docs: "M4 2h5.5L13 5.5V14H4zM9 2v4h4",
  plus: "M8 3v10M3 8h10",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3 14 14",
  copy: "M5.5 5.5h8v8h-8zM3 10.5H2.5v-8h8V3",
  trash: "M2.5 4h11M6 4V2.5h4V4M4 4l.6 9.5h6.8L12 4M6.7 6.5v4.5M9.3 6.5v4.5",
  edit: "M10.5 2.5l3 3L6 13l-3.5.5L3 10z",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  pause: "M5.5 3v10M10.5 3v10",
  play: "M5 3l7.5 5L5 13z",
  back: "M9.5 3 4.5 8l5 5",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7",
  auto: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  logout: "M6 2.5H2.5v11H6M10.5 5l3 3-3 3M13.5 8H6",
  compact: "M8 1.5v4M5.8 3.5 8 5.7l2.2-2.2M8 14.5v-4M5.8 12.5 8 10.3l2.2 2.2M2.5 8h11",
  expand: "M6 3.5l4.5 4.5L6 12.5",
  check: "M3 8.5l3.5 3.5L13 4.5",
  warning: "M8 2 1.5 13.5h13zM8 6.5V9.5M8 11.5v.01",
  restore: "M3 8a5 5 0 1 0 1.5-3.5L3 6M3 2.5V6h3.5",
  refresh: "M13 8a5 5 0 1 1-1.5-3.5L13 6M13 2.5V6H9.5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }): JSX.Element {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
