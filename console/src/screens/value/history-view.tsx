/** The revisions of a key as a timeline, the difference between any two of them, and restoring one. */
import { Code } from "@connectrpc/connect";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Entry, Operation } from "@ironflow-kv/client/gen";
import { type JSX, useEffect } from "react";
import { RadioButton, RadioField, RadioGroup } from "react-aria-components";
import { useKeyValue } from "../../api/clients.js";
import { hasCode, sentenceOf } from "../../api/errors.js";
import { refreshKey, useHistory } from "../../api/key-queries.js";
import { Button } from "../../ui/button.js";
import { formatAgo, formatBytes, formatCount, formatTime } from "../../ui/format.js";
import { OperationBadge } from "../../ui/operation.js";
import { Loading, Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";
import { format, formatsOf } from "./formats.js";
import { LazyEditor } from "./lazy-editor.js";

/** The revisions that the address names, as text. Undefined, or not kept: the newest one, and the one before. */
export interface ComparedRevisions {
  readonly newer?: string | undefined;
  readonly older?: string | undefined;
}

export interface HistoryViewProps {
  readonly bucket: string;
  readonly name: string;
  readonly compared: ComparedRevisions;
  readonly onCompare: (compared: ComparedRevisions) => void;
  /** Undefined: the key has no value. */
  readonly currentRevision: bigint | undefined;
  readonly reason: string | undefined;
}

export function HistoryView({
  bucket,
  name,
  compared,
  onCompare,
  currentRevision,
  reason,
}: HistoryViewProps): JSX.Element {
  const { data, error, isPending, hasNextPage, isFetching, fetchNextPage } = useHistory(bucket, name);
  const keyValue = useKeyValue();
  useEffect(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (isPending) return <Loading what="the history" />;
  if (data === undefined) {
    return hasCode(error, Code.NotFound) ? (
      <p className="no-rows soft">No revision of this key is kept.</p>
    ) : (
      <Notice>{sentenceOf(error)}</Notice>
    );
  }
  const entries = data.pages.flatMap((page) => page.entries).reverse();
  const newer = entries.find(({ revision }) => String(revision) === compared.newer) ?? entries[0];
  const older = entries.find(({ revision }) => String(revision) === compared.older) ?? entries[1];

  const restore = async (entry: Entry): Promise<void> => {
    const { value, contentType, metadata } = entry;
    const condition =
      currentRevision === undefined
        ? ({ case: "ifAbsent", value: true } as const)
        : ({ case: "ifRevision", value: currentRevision } as const);
    try {
      const { revision } = await keyValue.put({
        bucket,
        key: name,
        value,
        contentType,
        metadata,
        precondition: { condition },
      });
      toast(`Restored revision ${formatCount(entry.revision)} as revision ${formatCount(revision)}.`);
      onCompare({ newer: undefined, older: undefined });
    } catch (failure) {
      toast(
        hasCode(failure, Code.Aborted, Code.AlreadyExists)
          ? "Someone has just changed this key. Look at the newest revision, then try again."
          : sentenceOf(failure),
        "failed",
      );
    }
    await refreshKey(bucket, name);
  };

  return (
    <div className="history">
      <div className="timelines">
        <Timeline
          label="Compare"
          entries={entries}
          chosen={newer}
          onChoose={(revision) => onCompare({ newer: revision, older: textOfRevision(older) })}
        />
        <Timeline
          label="with"
          entries={entries}
          chosen={older}
          onChoose={(revision) => onCompare({ newer: textOfRevision(newer), older: revision })}
        />
      </div>
      {entries.length === 1 && (
        <p className="hint">
          Only one revision is kept. To keep more, raise the history in the settings of the bucket.
        </p>
      )}
      {newer !== undefined && (
        <div className="toolbar">
          <span>
            Revision <strong className="number">{formatCount(newer.revision)}</strong>
            {older !== undefined && older !== newer && (
              <>
                {" "}
                compared with <strong className="number">{formatCount(older.revision)}</strong>
              </>
            )}
          </span>
          <span className="spacer" />
          <Button
            icon="restore"
            reason={reason ?? whyNotRestorable(newer, currentRevision)}
            onPress={() => void restore(newer)}
          >
            Restore revision {formatCount(newer.revision)}
          </Button>
        </div>
      )}
      {newer !== undefined && <Difference newer={newer} older={older === newer ? undefined : older} />}
    </div>
  );
}

function textOfRevision(entry: Entry | undefined): string | undefined {
  return entry === undefined ? undefined : String(entry.revision);
}

function whyNotRestorable(entry: Entry, currentRevision: bigint | undefined): string | undefined {
  if (entry.operation !== Operation.PUT) return "This revision has no value: it removed the key.";
  return entry.revision === currentRevision ? "This is the current value." : undefined;
}

interface TimelineProps {
  readonly label: string;
  readonly entries: readonly Entry[];
  readonly chosen: Entry | undefined;
  readonly onChoose: (revision: string) => void;
}

function Timeline({ label, entries, chosen, onChoose }: TimelineProps): JSX.Element {
  return (
    <RadioGroup
      className="timeline"
      aria-label={label}
      value={String(chosen?.revision ?? "")}
      onChange={onChoose}
    >
      <span className="label">{label}</span>
      <div className="timeline-entries">
        {entries.map(({ revision, operation, createdAt, value }) => {
          const timeMs = createdAt === undefined ? 0 : timestampMs(createdAt);
          return (
            <RadioField key={String(revision)} value={String(revision)}>
              <RadioButton className="timeline-entry">
                <OperationBadge operation={operation} />
                <span className="number">{formatCount(revision)}</span>
                <span className="soft number timeline-time" title={formatTime(timeMs)}>
                  {formatAgo(timeMs)}
                </span>
                <span className="soft number">
                  {operation === Operation.PUT ? formatBytes(value.length) : ""}
                </span>
              </RadioButton>
            </RadioField>
          );
        })}
      </div>
    </RadioGroup>
  );
}

function Difference({
  newer,
  older,
}: {
  readonly newer: Entry;
  readonly older: Entry | undefined;
}): JSX.Element {
  const forms = [newer, ...(older === undefined ? [] : [older])].map(({ value, contentType }) =>
    formatsOf(value, contentType).filter((form) => form !== "image"),
  );
  const form = forms[0]?.find((one) => forms.every((all) => all.includes(one))) ?? "hex";
  return (
    <LazyEditor
      text={format(newer.value, form)}
      {...(older === undefined ? {} : { original: format(older.value, form) })}
      label="Difference between the revisions"
      isJson={form === "json"}
      isReadOnly
    />
  );
}
