/** Edits a value. It is saved only if nobody has changed the key since; otherwise the user sees both and decides. */
import { Code } from "@connectrpc/connect";
import type { Entry } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { keyValue } from "../../api/clients.js";
import { hasCode, sentenceOf } from "../../api/errors.js";
import { refreshKey } from "../../api/key-queries.js";
import { Button } from "../../ui/button.js";
import { SelectField } from "../../ui/field.js";
import { Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";
import { ConflictDialog } from "./conflict-dialog.js";
import { EntryOptionsFields, fieldsOf, optionsError, optionsOf } from "./entry-options.js";
import { FORMATS, format, type Format, formatsOf, parse } from "./formats.js";
import { LazyEditor } from "./lazy-editor.js";

export interface ValueEditorProps {
  readonly bucket: string;
  /** The entry that the edit began with. */
  readonly base: Entry;
  /** The newest entry that is known. */
  readonly newest: Entry;
  readonly initialForm: Format;
  readonly mayExpire: boolean;
  readonly onRebase: (entry: Entry) => void;
  readonly onDone: () => void;
}

export function ValueEditor({
  bucket,
  base,
  newest,
  initialForm,
  onRebase,
  onDone,
  mayExpire,
}: ValueEditorProps): JSX.Element {
  const [form, setForm] = useState(initialForm);
  const [text, setText] = useState(() => format(base.value, initialForm));
  const [options, setOptions] = useState(() => optionsOf(base));
  const [error, setError] = useState<string>();
  const [isSaving, setIsSaving] = useState(false);
  const [theirs, setTheirs] = useState<Entry>();
  const parsed = parse(text, form);
  const { key } = base;
  const isOutdated = newest.revision > base.revision;
  const reason =
    typeof parsed === "string" ? parsed : isSaving ? "The value is being saved." : optionsError(options);

  /** Saves if the newest revision of the key is still this one. */
  const save = async (ifRevision: bigint): Promise<void> => {
    if (typeof parsed === "string") return;
    setIsSaving(true);
    setError(undefined);
    try {
      const precondition = { condition: { case: "ifRevision" as const, value: ifRevision } };
      await keyValue.put({ bucket, key, value: parsed, ...fieldsOf(options), precondition });
      setTheirs(undefined);
      toast("Saved the value.");
      await refreshKey(bucket, key);
      onDone();
    } catch (failure) {
      if (!hasCode(failure, Code.Aborted)) setError(sentenceOf(failure));
      else await readTheirs();
    } finally {
      setIsSaving(false);
    }
  };
  const readTheirs = async (): Promise<void> => {
    try {
      setTheirs((await keyValue.get({ bucket, key })).entry);
    } catch (failure) {
      setError(
        hasCode(failure, Code.NotFound)
          ? "Someone deleted this key while you were editing it. Copy your text, close the editor, and create the key again."
          : sentenceOf(failure),
      );
    }
  };
  const changeForm = (next: Format): void => {
    if (typeof parsed !== "string") {
      setText(format(parsed, next));
      setForm(next);
    } else if (form === "json" && next === "text") setForm(next);
    else setError(parsed);
  };
  const forms = formatsOf(typeof parsed === "string" ? base.value : parsed, options.contentType);
  return (
    <form
      className="value-body"
      onSubmit={(event) => {
        event.preventDefault();
        if (reason === undefined) void save(base.revision);
      }}
    >
      <div className="toolbar">
        <SelectField
          isCompact
          label="Edit as"
          value={form}
          onChange={changeForm}
          options={FORMATS.filter(([id]) => id !== "image" && (forms.includes(id) || id === form))}
        />
        <span className="spacer" />
        <Button onPress={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" reason={reason}>
          Save
        </Button>
      </div>
      {isOutdated && (
        <Notice kind="warning">
          Someone has changed this key since you began. Your text is untouched; when you save, you will see
          both.
        </Notice>
      )}
      {error !== undefined && <Notice>{error}</Notice>}
      {typeof parsed === "string" && <Notice kind="warning">{parsed}</Notice>}
      <LazyEditor
        text={text}
        label="Value to edit"
        isJson={form === "json"}
        isReadOnly={false}
        onChange={setText}
        onSave={() => {
          if (reason === undefined) void save(base.revision);
        }}
      />
      <EntryOptionsFields options={options} onChange={setOptions} mayExpire={mayExpire} />
      {theirs !== undefined && typeof parsed !== "string" && (
        <ConflictDialog
          mine={parsed}
          theirs={theirs}
          form={form}
          isSaving={isSaving}
          onOverwrite={() => void save(theirs.revision)}
          onTakeTheirs={() => {
            setTheirs(undefined);
            void refreshKey(bucket, key);
            onDone();
          }}
          onKeepEditing={() => {
            onRebase(theirs);
            setTheirs(undefined);
          }}
        />
      )}
    </form>
  );
}
