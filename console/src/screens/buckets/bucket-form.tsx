/** Creates a bucket or changes its settings. Every setting is explained. */
import { useMutation } from "@connectrpc/connect-query";
import { type Bucket, BucketService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { refreshBuckets } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { TextField } from "../../ui/field.js";
import { formatBytes, formatSeconds, parseBytes, parseSeconds } from "../../ui/format.js";
import { Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";

export interface BucketFormProps {
  readonly isOpen: boolean;
  readonly onClose: () => void;
  /** The bucket to change. Undefined: a new one. */
  readonly bucket?: Bucket | undefined;
  readonly onDone: (name: string) => void;
}

export function BucketForm(props: BucketFormProps): JSX.Element {
  const title = props.bucket === undefined ? "New bucket" : `Settings of ${props.bucket.name}`;
  return (
    <Dialog title={title} isOpen={props.isOpen} onClose={props.onClose}>
      <Form {...props} />
    </Dialog>
  );
}

function Form({ bucket, onClose, onDone }: BucketFormProps): JSX.Element {
  const [name, setName] = useState(bucket?.name ?? "");
  const [description, setDescription] = useState(bucket?.description ?? "");
  const [ttl, setTtl] = useState(bucket?.ttl === undefined ? "" : formatSeconds(Number(bucket.ttl.seconds)));
  const [history, setHistory] = useState(String(bucket?.history ?? 1));
  const [maxBytes, setMaxBytes] = useState(exactBytes(bucket?.maxBytes ?? 0n));
  const [maxValueSize, setMaxValueSize] = useState(exactBytes(bucket?.maxValueSize ?? 0));
  const create = useMutation(BucketService.method.createBucket);
  const update = useMutation(BucketService.method.updateBucket);

  const errors = {
    name: name === "" || /^[A-Za-z0-9_-]{1,64}$/.test(name) ? undefined : "Use 1 to 64 of A-Z a-z 0-9 _ -.",
    ttl: parseSeconds(ttl) === undefined ? "Write a time such as 90s, 1h 30m or 7d." : undefined,
    history: /^([1-9]|[1-5]\d|6[0-4])$/.test(history) ? undefined : "Write a number from 1 to 64.",
    maxBytes: parseBytes(maxBytes) === undefined ? "Write a size such as 512 kB or 1 GB." : undefined,
    maxValueSize: parseBytes(maxValueSize) === undefined ? "Write a size such as 64 kB or 1 MB." : undefined,
  };
  const isPending = create.isPending || update.isPending;
  const reason =
    name === ""
      ? "Enter a name first."
      : isPending
        ? "The service is working on it."
        : Object.values(errors).find((error) => error !== undefined);

  const submit = (): void => {
    const settings = {
      description,
      ttl: { seconds: BigInt(Math.ceil(parseSeconds(ttl) ?? 0)) },
      history: Number(history),
      maxBytes: BigInt(parseBytes(maxBytes) ?? 0),
      maxValueSize: parseBytes(maxValueSize) ?? 0,
    };
    const onSuccess = (): void => {
      void refreshBuckets();
      toast(bucket === undefined ? `Created the bucket ${name}.` : `Saved the settings of ${name}.`);
      onDone(name);
    };
    if (bucket === undefined) create.mutate({ name, ...settings }, { onSuccess });
    else update.mutate({ bucket: name, ...settings }, { onSuccess });
  };
  const error = create.error ?? update.error;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (reason === undefined) submit();
      }}
    >
      {bucket === undefined && (
        <TextField
          label="Name"
          isMono
          autoFocus
          value={name}
          onChange={setName}
          error={errors.name}
          placeholder="sessions"
          description="1 to 64 letters, digits, _ and -. It can't be changed later."
        />
      )}
      <TextField
        label="Description"
        value={description}
        onChange={setDescription}
        description="For people. Optional."
      />
      <div className="field-row">
        <TextField
          label="Entries live"
          value={ttl}
          onChange={setTtl}
          error={errors.ttl}
          placeholder="forever"
          description="Entries expire this long after they are written, such as 1h. Empty: never."
        />
        <TextField
          label="Revisions kept of each key"
          value={history}
          onChange={setHistory}
          error={errors.history}
          description="1 to 64. With 1, only the current value is kept: there is nothing to compare or restore."
        />
      </div>
      <div className="field-row">
        <TextField
          label="Largest bucket"
          value={maxBytes}
          onChange={setMaxBytes}
          error={errors.maxBytes}
          placeholder="no limit"
          description="Writes beyond it are refused; nothing is evicted. Includes history. Empty: no limit."
        />
        <TextField
          label="Largest value"
          value={maxValueSize}
          onChange={setMaxValueSize}
          error={errors.maxValueSize}
          placeholder="service limit"
          description="Larger values are refused. Empty: the limit of the service, 1 MiB unless it is set otherwise."
        />
      </div>
      {bucket !== undefined && (
        <Notice kind="info">
          A shorter lifetime or history removes the entries that it no longer covers. Limits on sizes apply to
          new writes.
        </Notice>
      )}
      {error !== null && <Notice>{sentenceOf(error)}</Notice>}
      <DialogActions>
        <Button onPress={onClose}>Cancel</Button>
        <Button type="submit" variant="primary" reason={reason}>
          {bucket === undefined ? "Create bucket" : "Save settings"}
        </Button>
      </DialogActions>
    </form>
  );
}

/** A text that is read back as the same number: `17 MB`, but `17000001` where rounding would lose something. */
function exactBytes(bytes: number | bigint): string {
  if (Number(bytes) === 0) return "";
  const text = formatBytes(bytes);
  return parseBytes(text) === Number(bytes) ? text : String(bytes);
}
