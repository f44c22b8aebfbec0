/** The current value of a key, to read. */
import type { Entry } from "@ironflow-kv/client/gen";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type JSX, useMemo } from "react";
import { Button } from "../../ui/button.js";
import { SelectField } from "../../ui/field.js";
import { formatAgo, formatBytes, formatCount, formatTime } from "../../ui/format.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { FORMATS, type Format, formatsOf } from "./formats.js";
import { ValueContent } from "./value-content.js";

export interface ValueViewProps {
  readonly entry: Entry;
  /** The form that the address names: any text, or undefined for the one that says most. */
  readonly chosen: string | undefined;
  readonly onChoose: (form: Format) => void;
  /** Begins an edit in the form that is shown. */
  readonly onEdit: (form: Format) => void;
  /** Why the key may not be written. Undefined: it may. */
  readonly reason: string | undefined;
}

export function ValueView({ entry, chosen, onChoose, onEdit, reason }: ValueViewProps): JSX.Element {
  const { value, contentType } = entry;
  const forms = useMemo(() => formatsOf(value, contentType), [value, contentType]);
  const form = forms.find((one) => one === chosen) ?? forms[0] ?? "hex";
  const edit = (): void => onEdit(form === "image" ? "base64" : form);
  useShortcuts({
    e: () => {
      if (reason === undefined) edit();
    },
  });
  return (
    <div className="value-body">
      <div className="toolbar">
        <SelectField
          isCompact
          label="Show as"
          value={form}
          onChange={onChoose}
          options={FORMATS.filter(([id]) => forms.includes(id))}
        />
        <span className="spacer" />
        <Button icon="edit" reason={reason} onPress={edit}>
          Edit
        </Button>
      </div>
      <ValueContent bytes={value} contentType={contentType} form={form} label="Value" />
      <EntryFacts entry={entry} />
    </div>
  );
}

export function EntryFacts({ entry }: { readonly entry: Entry }): JSX.Element {
  const { revision, value, contentType, createdAt, expiresAt, metadata } = entry;
  const timeMs = createdAt === undefined ? undefined : timestampMs(createdAt);
  return (
    <dl className="facts entry-facts">
      <div>
        <dt>Revision</dt>
        <dd className="number">{formatCount(revision)}</dd>
      </div>
      <div>
        <dt>Written</dt>
        <dd className="number">
          {timeMs === undefined ? "" : `${formatTime(timeMs)} (${formatAgo(timeMs)})`}
        </dd>
      </div>
      <div>
        <dt>Size</dt>
        <dd className="number">{formatBytes(value.length)}</dd>
      </div>
      <div>
        <dt>Content type</dt>
        <dd className="mono">{contentType === "" ? "none" : contentType}</dd>
      </div>
      {expiresAt !== undefined && (
        <div>
          <dt>Expires</dt>
          <dd className="number">{formatTime(timestampMs(expiresAt))}</dd>
        </div>
      )}
      {Object.entries(metadata).map(([name, text]) => (
        <div key={name}>
          <dt className="mono">{name}</dt>
          <dd>
            <bdi>{text}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}
