/** What can be done with a bucket: change, compact, delete. */
import { useMutation } from "@connectrpc/connect-query";
import { useNavigate } from "@tanstack/react-router";
import { type Bucket, BucketService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { type KeyCount, refreshBuckets } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { Confirm } from "../../ui/confirm.js";
import { formatCount, formatKeys } from "../../ui/format.js";
import { Menu } from "../../ui/menu.js";
import { toast } from "../../ui/toast.js";
import { BucketForm } from "./bucket-form.js";

export interface BucketActionsProps {
  readonly name: string;
  readonly bucket: Bucket | undefined;
  readonly keys: KeyCount;
  /** Why the key may not change the bucket. Undefined: it may. */
  readonly reason: string | undefined;
  readonly isSettingsOpen: boolean;
  readonly onSettings: (isOpen: boolean) => void;
}

export function BucketActions({
  name,
  bucket,
  keys,
  reason,
  isSettingsOpen,
  onSettings,
}: BucketActionsProps): JSX.Element {
  const navigate = useNavigate();
  const [isDeleting, setIsDeleting] = useState(false);
  const compact = useMutation(BucketService.method.compactBucket);
  const remove = useMutation(BucketService.method.deleteBucket);
  const closeSettings = (): void => onSettings(false);
  const runCompact = (): void =>
    compact.mutate(
      { bucket: name },
      {
        onSuccess: ({ removed }) => {
          toast(
            `Compacted ${name}: removed ${formatCount(removed)} ${removed === 1n ? "tombstone" : "tombstones"}.`,
          );
          void refreshBuckets();
        },
        onError: (error) => toast(sentenceOf(error), "failed"),
      },
    );
  const runRemove = (): void =>
    remove.mutate(
      { bucket: name },
      {
        onSuccess: () => {
          toast(`Deleted the bucket ${name}.`);
          void navigate({ to: "/buckets" });
          void refreshBuckets();
        },
      },
    );
  return (
    <>
      <Menu
        label={`Actions of ${name}`}
        actions={[
          { name: "Settings", icon: "edit", reason, run: () => onSettings(true) },
          { name: "Compact: remove tombstones", icon: "compact", reason, run: runCompact },
          { name: "Delete bucket", icon: "trash", isDangerous: true, reason, run: () => setIsDeleting(true) },
        ]}
      />
      {bucket !== undefined && (
        <BucketForm
          isOpen={isSettingsOpen && reason === undefined}
          bucket={bucket}
          onClose={closeSettings}
          onDone={closeSettings}
        />
      )}
      <Confirm
        title={`Delete the bucket ${name}?`}
        action="Delete bucket"
        typed={name}
        isOpen={isDeleting}
        isBusy={remove.isPending}
        error={remove.error === null ? undefined : sentenceOf(remove.error)}
        onClose={() => setIsDeleting(false)}
        onConfirm={runRemove}
      >
        <p>
          This deletes {keys === undefined ? "all keys" : formatKeys(keys)} and their history, and ends all
          watches. It can't be undone.
        </p>
      </Confirm>
    </>
  );
}
