/** A command or program to copy. */
import type { JSX } from "react";
import { CopyButton } from "./copy-button.js";

export function CodeSample({ title, code }: { readonly title: string; readonly code: string }): JSX.Element {
  return (
    <figure className="sample">
      <figcaption>
        {title}
        <CopyButton text={code} what={`the ${title} example`} />
      </figcaption>
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}
