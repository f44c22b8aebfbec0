/** Edits a value. It is saved only if nobody has changed the key since; otherwise the user sees both and decides. */
import { Code } from "@connectrpc/connect";
import type { Entry } from "@ironflow-kv/client/gen";
import { type JSX, useDeferredValue, useMemo, useState } from "react";
import { useKeyValue } from "../../api/clients.js";
import { hasCode, sentenceOf } from "../../api/errors.js";
import { refreshKey } from "../../api/key-queries.js";
import { Button } from "../../ui/button.js";
import { SelectField } from "../../ui/field.js";
import { Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";
import { ConflictDialog } from "./conflict-dialog.js";
import type { Draft } from "./drafts.js";
import { EntryOptionsFields, fieldsOf, optionsError } from "./entry-options.js";
import { FORMATS, format, type Format, formatsOf, isCompactJson, parse } from "./formats.js";
import { LazyEditor } from "./lazy-editor.js";

export interface ValueEditorProps {
  readonly bucket: string;
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  /** The newest revision of the key that is known. Undefined: the key has no value any more. */
  readonly newestRevision: bigint | undefined;
  readonly mayExpire: boolean;
  /** Why the key may not be written. Undefined: it may. */
  readonly denial: string | undefined;
  readonly onDone: () => void;
}

export function ValueEditor(props: ValueEditorProps): JSX.Element {
  const { bucket, draft, onDraft, newestRevision, mayExpire, denial, onDone } = props;
  const { base, form, text, options } = draft;
  const { key } = base;
  const keyValue = useKeyValue();
  const [error, setError] = useState<string>();
  const [isSaving, setIsSaving] = useState(false);
  const [theirs, setTheirs] = useState<Entry>();
  const isCompact = useMemo(() => isCompactJson(base.value), [base]);
  // Large texts take a while to check: typing goes first.
  const checked = useDeferredValue(text);
  const parsed = useMemo(() => parse(checked, form, isCompact), [checked, form, isCompact]);
  const forms = useMemo(
    () => formatsOf(typeof parsed === "string" ? base.value : parsed, options.contentType),
    [parsed, base, options.contentType],
  );
  const isGone = newestRevision === undefined;
  const reason =
    denial ??
    (typeof parsed === "string" ? parsed : isSaving ? "The value is being saved." : optionsError(options));
  const change = (part: Partial<Draft>): void => onDraft({ ...draft, ...part, isChanged: true });

  /** Saves if the newest revision of the key is still this one. Undefined: if the key has no value. */
  const save = async (ifRevision: bigint | undefined, newest = text): Promise<void> => {
    const value = parse(newest, form, isCompact);
    if (typeof value === "string") return;
    setIsSaving(true);
    setError(undefined);
    try {
      const condition =
        ifRevision === undefined
          ? ({ case: "ifAbsent", value: true } as const)
          : ({ case: "ifRevision", value: ifRevision } as const);
      await keyValue.put({ bucket, key, value, ...fieldsOf(options), precondition: { condition } });
      setTheirs(undefined);
      toast("Saved the value.");
      await refreshKey(bucket, key);
      onDone();
    } catch (failure) {
      if (hasCode(failure, Code.Aborted, Code.AlreadyExists)) await readTheirs();
      else setError(sentenceOf(failure));
    } finally {
      setIsSaving(false);
    }
  };
  const readTheirs = async (): Promise<void> => {
    try {
      setTheirs((await keyValue.get({ bucket, key })).entry);
    } catch (failure) {
      setTheirs(undefined);
      // A key that is gone: the screen says so as soon as it knows.
      if (hasCode(failure, Code.NotFound)) await refreshKey(bucket, key);
      else setError(sentenceOf(failure));
    }
  };
  /** `newest`: the text of this moment. Both `text` and what was checked may be of an earlier one. */
  const submit = (newest = text): void => {
    const isRefused = denial !== undefined || isSaving || optionsError(options) !== undefined;
    if (!isRefused) void save(isGone ? undefined : base.revision, newest);
  };
  const changeForm = (next: Format): void => {
    const value = parse(text, form, isCompact);
    if (typeof value !== "string") change({ text: format(value, next), form: next });
    else if (form === "json" && next === "text") change({ form: next });
    else setError(value);
  };
  return (
    <form
      className="value-body"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
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
          {isGone ? "Create the key again" : "Save"}
        </Button>
      </div>
      {isGone && (
        <Notice kind="warning">
          This key was deleted or has expired since you began. Your text is untouched; saving creates the key
          again.
        </Notice>
      )}
      {!isGone && newestRevision > base.revision && (
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
        onChange={(changed) => change({ text: changed })}
        onSave={submit}
      />
      <EntryOptionsFields
        options={options}
        onChange={(changed) => change({ options: changed })}
        mayExpire={mayExpire}
      />
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
            onDraft({ ...draft, base: theirs });
            setTheirs(undefined);
          }}
        />
      )}
    </form>
  );
}
