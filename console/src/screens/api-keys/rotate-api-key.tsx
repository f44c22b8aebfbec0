import { useMutation } from "@connectrpc/connect-query";
import { type ApiKey, ApiKeyService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { TextField } from "../../ui/field.js";
import { parseSeconds } from "../../ui/format.js";
import { Notice } from "../../ui/states.js";

export interface RotateApiKeyProps {
  /** Undefined: the dialog is closed. */
  readonly apiKey: ApiKey | undefined;
  readonly onClose: () => void;
  readonly onRotated: (secret: string) => void;
}

export function RotateApiKey(props: RotateApiKeyProps): JSX.Element {
  const { apiKey, onClose } = props;
  return (
    <Dialog
      title={`Rotate ${apiKey?.name ?? ""}`}
      size="small"
      isOpen={apiKey !== undefined}
      onClose={onClose}
    >
      {apiKey !== undefined && <Form {...props} apiKey={apiKey} />}
    </Dialog>
  );
}

function Form({ apiKey, onClose, onRotated }: RotateApiKeyProps & { readonly apiKey: ApiKey }): JSX.Element {
  const [overlap, setOverlap] = useState("1h");
  const rotate = useMutation(ApiKeyService.method.rotateApiKey);
  const seconds = parseSeconds(overlap);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (seconds === undefined || rotate.isPending) return;
        rotate.mutate(
          { id: apiKey.id, overlap: { seconds: BigInt(Math.ceil(seconds)) } },
          { onSuccess: ({ secret }) => onRotated(secret) },
        );
      }}
    >
      <p>The key gets a new secret. Its scopes and expiry stay.</p>
      <TextField
        label="The previous secret stays valid for"
        value={overlap}
        onChange={setOverlap}
        error={seconds === undefined ? "Write a time such as 1h." : undefined}
        description="So that programs have time to switch, at most 30d. Empty: it becomes invalid at once."
      />
      {rotate.error !== null && <Notice>{sentenceOf(rotate.error)}</Notice>}
      <DialogActions>
        <Button onPress={onClose}>Cancel</Button>
        <Button type="submit" variant="primary">
          Rotate
        </Button>
      </DialogActions>
    </form>
  );
}
