/** Edits a value. It is saved only if nobody has changed the key since; otherwise the user sees both and decides. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { Entry, GetResponse } from "@ironflow-kv/client/gen";
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

/** Tab belongs to the editor: users must learn how to leave it. */
const EDITOR_HINT = "Tab indents. To leave the editor by keyboard, press Escape, then Tab.";

export interface ValueEditorProps {
  readonly bucket: string;
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  /** The newest revision of the key that is known. Undefined: the key has no value any more. */
  readonly newestRevision: bigint | undefined;
  readonly mayExpire: boolean;
  /** Why the key may not be written. Undefined: it may. */
  readonly denial: string | undefined;
  /** Called with what was saved, as an edit that begins with it. */
  readonly onSaved: (saved: Draft) => void;
  readonly onCancel: () => void;
}

export function ValueEditor(props: ValueEditorProps): JSX.Element {
  const { bucket, draft, onDraft, newestRevision, mayExpire, denial, onSaved, onCancel } = props;
  const { base, form, text, options, bucketCreatedAt } = draft;
  const { key } = base;
  const keyValue = useKeyValue();
  const [error, setError] = useState<string>();
  const [isSaving, setIsSaving] = useState(false);
  const [theirs, setTheirs] = useState<GetResponse & { readonly entry: Entry }>();
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

  /** Saves if the newest revision of the key is still this one, in the bucket that was created then. Undefined: if the key has no value. */
  const save = async (
    ifRevision: bigint | undefined,
    ifBucketCreatedAt: Timestamp | undefined,
    newest = text,
  ): Promise<void> => {
    const value = parse(newest, form, isCompact);
    if (typeof value === "string") return;
    setIsSaving(true);
    setError(undefined);
    try {
      const condition =
        ifRevision === undefined
          ? ({ case: "ifAbsent", value: true } as const)
          : ({ case: "ifRevision", value: ifRevision } as const);
      const fields = fieldsOf(options);
      const precondition = { condition, ...(ifBucketCreatedAt === undefined ? {} : { ifBucketCreatedAt }) };
      const written = await keyValue.put({ bucket, key, value, ...fields, precondition });
      setTheirs(undefined);
      toast("Saved the value.");
      await refreshKey(bucket, key);
      const { contentType, metadata } = fields;
      const saved = { ...base, value, contentType, metadata, revision: written.revision };
      onSaved({ ...draft, text: newest, base: saved, bucketCreatedAt: written.bucketCreatedAt });
    } catch (failure) {
      if (hasCode(failure, Code.Aborted, Code.AlreadyExists)) await readTheirs();
      else setError(sentenceOf(failure));
    } finally {
      setIsSaving(false);
    }
  };
  const readTheirs = async (): Promise<void> => {
    try {
      const { entry, ...response } = await keyValue.get({ bucket, key });
      setTheirs(entry && { ...response, entry });
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
    if (isRefused) return;
    if (isGone) void save(undefined, undefined, newest);
    else void save(base.revision, bucketCreatedAt, newest);
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
        <Button onPress={onCancel}>Cancel</Button>
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
      {!isGone && !isSaving && newestRevision > base.revision && (
        <Notice kind="warning">
          Someone has changed this key since you began. Your text is untouched; when you save, you will see
          both.
        </Notice>
      )}
      {error !== undefined && <Notice>{error}</Notice>}
      {typeof parsed === "string" && <Notice kind="warning">{parsed}</Notice>}
      <LazyEditor
        key={form}
        text={text}
        label="Value to edit"
        description={EDITOR_HINT}
        isJson={form === "json"}
        isReadOnly={false}
        onChange={(changed) => change({ text: changed })}
        onSave={submit}
      />
      <p className="hint" aria-hidden="true">
        {EDITOR_HINT}
      </p>
      <EntryOptionsFields
        options={options}
        onChange={(changed) => change({ options: changed })}
        mayExpire={mayExpire}
      />
      {theirs !== undefined && typeof parsed !== "string" && (
        <ConflictDialog
          mine={parsed}
          theirs={theirs.entry}
          form={form}
          isSaving={isSaving}
          onOverwrite={() => void save(theirs.entry.revision, theirs.bucketCreatedAt)}
          onTakeTheirs={() => {
            setTheirs(undefined);
            void refreshKey(bucket, key);
            onCancel();
          }}
          onKeepEditing={() => {
            onDraft({ ...draft, base: theirs.entry, bucketCreatedAt: theirs.bucketCreatedAt });
            setTheirs(undefined);
          }}
        />
      )}
    </form>
  );
}
