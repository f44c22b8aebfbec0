/** The current value of a key: to read, or to edit. */
import type { Entry } from "@ironflow-kv/client/gen";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type JSX, useState } from "react";
import { Button } from "../../ui/button.js";
import { SelectField } from "../../ui/field.js";
import { formatAgo, formatBytes, formatCount, formatTime } from "../../ui/format.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { FORMATS, type Format, formatsOf } from "./formats.js";
import { ValueContent } from "./value-content.js";
import { ValueEditor } from "./value-editor.js";

export interface ValueViewProps {
  readonly bucket: string;
  readonly entry: Entry;
  readonly mayExpire: boolean;
  /** Why the key may not be written. Undefined: it may. */
  readonly reason: string | undefined;
}

export function ValueView({ bucket, entry, mayExpire, reason }: ValueViewProps): JSX.Element {
  const { value, contentType } = entry;
  const forms = formatsOf(value, contentType);
  const [chosen, setChosen] = useState<Format>();
  const form = chosen !== undefined && forms.includes(chosen) ? chosen : (forms[0] ?? "hex");
  /** The entry that is being edited: it stays while others change the key. */
  const [base, setBase] = useState<Entry>();
  const edit = (): void => setBase(entry);
  useShortcuts({
    e: () => {
      if (reason === undefined && base === undefined) edit();
    },
  });
  if (base !== undefined) {
    return (
      <ValueEditor
        bucket={bucket}
        base={base}
        newest={entry}
        initialForm={form === "image" ? "base64" : form}
        mayExpire={mayExpire}
        onRebase={setBase}
        onDone={() => setBase(undefined)}
      />
    );
  }
  return (
    <div className="value-body">
      <div className="toolbar">
        <SelectField
          isCompact
          label="Show as"
          value={form}
          onChange={setChosen}
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
