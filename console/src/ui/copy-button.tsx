import type { JSX } from "react";
import { Button, type ActionProps } from "./button.js";
import { toast } from "./toast.js";

export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied ${what}.`);
  } catch {
    toast(`The browser did not allow copying ${what}.`, "failed");
  }
}

/** Copies text to the clipboard. `what` completes "Copy ...". */
export function CopyButton({
  text,
  what,
  ...props
}: ActionProps & { readonly text: string; readonly what: string }): JSX.Element {
  return (
    <Button
      variant="quiet"
      icon="copy"
      label={`Copy ${what}`}
      onPress={() => void copyText(text, what)}
      {...props}
    />
  );
}
