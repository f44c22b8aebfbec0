/** Shows a secret once. */
import type { JSX } from "react";
import { Button } from "../../ui/button.js";
import { CopyButton } from "../../ui/copy-button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { Notice } from "../../ui/states.js";

export interface SecretDialogProps {
  /** Undefined: the dialog is closed. */
  readonly secret: string | undefined;
  readonly onClose: () => void;
}

export function SecretDialog({ secret, onClose }: SecretDialogProps): JSX.Element {
  return (
    <Dialog
      title="The secret of the API key"
      role="alertdialog"
      isOpen={secret !== undefined}
      onClose={onClose}
    >
      <Notice kind="warning">
        Copy it now: the service stores only a hash, and nobody can show it again.
      </Notice>
      <div className="secret">
        <code>{secret}</code>
        <CopyButton text={secret ?? ""} what="the secret" variant="plain">
          Copy
        </CopyButton>
      </div>
      <p className="hint">
        Send it with each call: <code>Authorization: Bearer &lt;secret&gt;</code>
      </p>
      <DialogActions>
        <Button variant="primary" onPress={onClose}>
          I have copied it
        </Button>
      </DialogActions>
    </Dialog>
  );
}
