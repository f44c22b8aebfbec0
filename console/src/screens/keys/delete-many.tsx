import { type JSX, useState } from "react";
import { useKeyValue } from "../../api/clients.js";
import { sentenceOf } from "../../api/errors.js";
import { Confirm } from "../../ui/confirm.js";
import { formatCount, formatKeys } from "../../ui/format.js";
import { KeyText } from "../../ui/key-text.js";
import { toast } from "../../ui/toast.js";
import { deleteKeys } from "./key-actions.js";

const NAMED_MAX = 5;

export interface DeleteManyProps {
  readonly bucket: string;
  readonly keys: readonly string[];
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

export function DeleteMany({ bucket, keys, isOpen, onClose, onDone }: DeleteManyProps): JSX.Element {
  const keyValue = useKeyValue();
  const [done, setDone] = useState<number>();
  const [error, setError] = useState<string>();
  const run = async (): Promise<void> => {
    setDone(0);
    setError(undefined);
    const failure = await deleteKeys(keyValue, bucket, keys, false, setDone);
    setDone(undefined);
    if (failure !== undefined) {
      setError(sentenceOf(failure));
      return;
    }
    toast(`Deleted ${formatKeys(keys.length)}.`);
    onDone();
  };
  return (
    <Confirm
      title={`Delete ${formatKeys(keys.length)}?`}
      action={done === undefined ? "Delete" : `Deleting: ${formatCount(done)} of ${formatCount(keys.length)}`}
      isOpen={isOpen}
      isBusy={done !== undefined}
      error={error}
      typed={keys.length > 100 ? String(keys.length) : undefined}
      onClose={onClose}
      onConfirm={() => void run()}
    >
      <p>
        Their values are gone for readers at once. Earlier revisions stay in the history, if the bucket keeps
        one.
      </p>
      <ul className="named-keys">
        {keys.slice(0, NAMED_MAX).map((key) => (
          <li key={key}>
            <KeyText value={key} />
          </li>
        ))}
        {keys.length > NAMED_MAX && <li className="soft">and {formatCount(keys.length - NAMED_MAX)} more</li>}
      </ul>
    </Confirm>
  );
}
