import { useMutation } from "@connectrpc/connect-query";
import { KeyValueService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { TextField } from "../../ui/field.js";
import { Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";
import { EntryOptionsFields, fieldsOf, NO_OPTIONS, optionsError } from "../value/entry-options.js";

export interface NewKeyDialogProps {
  readonly bucket: string;
  readonly mayExpire: boolean;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onCreated: (key: string) => void;
}

export function NewKeyDialog(props: NewKeyDialogProps): JSX.Element {
  return (
    <Dialog title="New key" isOpen={props.isOpen} onClose={props.onClose}>
      <NewKeyForm {...props} />
    </Dialog>
  );
}

function NewKeyForm({ bucket, mayExpire, onClose, onCreated }: NewKeyDialogProps): JSX.Element {
  const [key, setKey] = useState("");
  const [value, setValue] = useState("");
  const [options, setOptions] = useState(NO_OPTIONS);
  const put = useMutation(KeyValueService.method.put);
  const jsonError = /[/+]json\b/.test(options.contentType) && value !== "" ? jsonErrorOf(value) : undefined;
  const reason =
    key === ""
      ? "Enter a key first."
      : put.isPending
        ? "The key is being created."
        : (jsonError ?? optionsError(options));
  const create = (): void => {
    put.mutate(
      {
        bucket,
        key,
        value: new TextEncoder().encode(value),
        ...fieldsOf(options),
        precondition: { condition: { case: "ifAbsent", value: true } },
      },
      {
        onSuccess: () => {
          toast("Created the key.");
          onCreated(key);
        },
      },
    );
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (reason === undefined) create();
      }}
    >
      <TextField
        label="Key"
        isMono
        autoFocus
        value={key}
        onChange={setKey}
        placeholder="user.1001"
        description="Up to 512 bytes. Dots separate the parts that filters match, such as user.*"
      />
      <TextField label="Value" isMono rows={8} value={value} onChange={setValue} error={jsonError} />
      <EntryOptionsFields options={options} onChange={setOptions} mayExpire={mayExpire} />
      {put.error !== null && <Notice>{sentenceOf(put.error)}</Notice>}
      <DialogActions>
        <Button onPress={onClose}>Cancel</Button>
        <Button type="submit" variant="primary" reason={reason}>
          Create key
        </Button>
      </DialogActions>
    </form>
  );
}

/** Why the text is not JSON; undefined if it is. */
export function jsonErrorOf(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return `This is not valid JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}
