/** What a screen shows in place of data. */
import type { JSX, ReactNode } from "react";
import { Icon } from "./icons.js";

export function Loading({ what }: { readonly what: string }): JSX.Element {
  return (
    <p className="loading" role="status">
      <span className="spinner" aria-hidden="true" />
      Loading {what}
    </p>
  );
}

export function Notice({
  kind = "error",
  children,
}: {
  readonly kind?: "error" | "info" | "warning";
  readonly children: ReactNode;
}): JSX.Element {
  return (
    <div className={`notice notice-${kind}`} role={kind === "error" ? "alert" : "note"}>
      <Icon name="warning" />
      <div>{children}</div>
    </div>
  );
}

export function Empty({
  title,
  children,
}: {
  readonly title: string;
  readonly children?: ReactNode;
}): JSX.Element {
  return (
    <section className="empty">
      <h2>{title}</h2>
      {children}
    </section>
  );
}
