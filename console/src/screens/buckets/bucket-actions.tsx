/** What can be done with a bucket: change, compact, delete. */
import { useMutation } from "@connectrpc/connect-query";
import { useNavigate } from "@tanstack/react-router";
import { type Bucket, BucketService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { refreshBuckets } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { Confirm } from "../../ui/confirm.js";
import { formatCount, formatKeys } from "../../ui/format.js";
import { Menu } from "../../ui/menu.js";
import { toast } from "../../ui/toast.js";
import { BucketForm } from "./bucket-form.js";

export interface BucketActionsProps {
  readonly name: string;
  readonly bucket: Bucket | undefined;
  /** Why the key may not change the bucket. Undefined: it may. */
  readonly reason: string | undefined;
}

export function BucketActions({ name, bucket, reason }: BucketActionsProps): JSX.Element {
  const navigate = useNavigate();
  const [open, setOpen] = useState<"settings" | "delete">();
  const compact = useMutation(BucketService.method.compactBucket);
  const remove = useMutation(BucketService.method.deleteBucket);
  const close = (): void => setOpen(undefined);
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
          { name: "Settings", icon: "edit", reason, run: () => setOpen("settings") },
          { name: "Compact: remove tombstones", icon: "compact", reason, run: runCompact },
          { name: "Delete bucket", icon: "trash", isDangerous: true, reason, run: () => setOpen("delete") },
        ]}
      />
      {bucket !== undefined && (
        <BucketForm isOpen={open === "settings"} bucket={bucket} onClose={close} onDone={close} />
      )}
      <Confirm
        title={`Delete the bucket ${name}?`}
        action="Delete bucket"
        typed={name}
        isOpen={open === "delete"}
        isBusy={remove.isPending}
        error={remove.error === null ? undefined : sentenceOf(remove.error)}
        onClose={close}
        onConfirm={runRemove}
      >
        <p>
          This deletes {bucket === undefined ? "all keys" : formatKeys(bucket.values)} and their history, and
          ends all watches. It can't be undone.
        </p>
      </Confirm>
    </>
  );
}
