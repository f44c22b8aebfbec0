/** Deletes every key that matches the search. The service finds them: they need not be loaded here. */
import { type JSX, useState } from "react";
import { useKeyValue } from "../../api/clients.js";
import { sentenceOf } from "../../api/errors.js";
import { keyFilterOf } from "../../live/key-filter.js";
import { Confirm } from "../../ui/confirm.js";
import { formatCount, formatKeys } from "../../ui/format.js";
import { toast } from "../../ui/toast.js";

/** Few enough to show the progress. */
const KEYS_A_CALL = 1_000;

export interface DeleteMatchingProps {
  readonly bucket: string;
  readonly find: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
}

export function DeleteMatching({ bucket, find, isOpen, onClose }: DeleteMatchingProps): JSX.Element {
  const keyValue = useKeyValue();
  const [done, setDone] = useState<number>();
  const [error, setError] = useState<string>();
  const run = async (): Promise<void> => {
    const filters = [...keyFilterOf(find).filters];
    let deleted = 0;
    let pageToken = "";
    setDone(0);
    setError(undefined);
    try {
      do {
        const page = await keyValue.deleteKeys({ bucket, filters, limit: KEYS_A_CALL, pageToken });
        deleted += page.deleted;
        setDone(deleted);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      toast(`Deleted ${formatKeys(deleted)}.`);
      onClose();
    } catch (failure) {
      setError(`${sentenceOf(failure)} Deleted until then: ${formatKeys(deleted)}.`);
    } finally {
      setDone(undefined);
    }
  };
  return (
    <Confirm
      title="Delete all keys that match?"
      action={done === undefined ? "Delete all" : `Deleting: ${formatCount(done)} so far`}
      isOpen={isOpen}
      isBusy={done !== undefined}
      error={error}
      typed={find}
      onClose={onClose}
      onConfirm={() => void run()}
    >
      <p>
        This deletes every key that matches “<bdi>{find}</bdi>”, also those that are not loaded here. Keys
        that are written from now on stay. Earlier revisions stay in the history, if the bucket keeps one.
      </p>
    </Confirm>
  );
}
