/** Asks before something that can't be undone. */
import { type JSX, type ReactNode, useState } from "react";
import { Button } from "./button.js";
import { Dialog, DialogActions } from "./dialog.js";
import { TextField } from "./field.js";
import { Notice } from "./states.js";

export interface ConfirmProps {
  readonly title: string;
  readonly action: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onConfirm: () => void;
  /** The text to type first. Undefined: none. */
  readonly typed?: string | undefined;
  readonly isBusy?: boolean | undefined;
  readonly error?: string | undefined;
  readonly children: ReactNode;
}

export function Confirm(props: ConfirmProps): JSX.Element {
  return (
    <Dialog title={props.title} role="alertdialog" size="small" isOpen={props.isOpen} onClose={props.onClose}>
      <Question {...props} />
    </Dialog>
  );
}

function Question({ action, onClose, onConfirm, typed, isBusy, error, children }: ConfirmProps): JSX.Element {
  const [text, setText] = useState("");
  const reason =
    isBusy === true
      ? "It is under way."
      : typed !== undefined && text !== typed
        ? `Type ${typed} first.`
        : undefined;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (reason === undefined) onConfirm();
      }}
    >
      <div>{children}</div>
      {typed !== undefined && (
        <TextField label={`Type ${typed} to confirm`} isMono autoFocus value={text} onChange={setText} />
      )}
      {error !== undefined && <Notice>{error}</Notice>}
      <DialogActions>
        <Button onPress={onClose}>Cancel</Button>
        <Button type="submit" variant="danger" reason={reason}>
          {action}
        </Button>
      </DialogActions>
    </form>
  );
}
