/** One key: its value, its history, and what can be done with it. */
import { Code } from "@connectrpc/connect";
import { useMutation } from "@connectrpc/connect-query";
import { type Entry, KeyValueService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { Tab, TabList, TabPanel, Tabs } from "react-aria-components";
import { useEnvironment } from "../../api/environment.js";
import { detailOf, hasCode, sentenceOf } from "../../api/errors.js";
import { refreshKey, useEntry } from "../../api/key-queries.js";
import { Button } from "../../ui/button.js";
import { Confirm } from "../../ui/confirm.js";
import { copyText } from "../../ui/copy-button.js";
import { KeyText } from "../../ui/key-text.js";
import { Menu } from "../../ui/menu.js";
import { Loading, Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";
import type { Denials } from "../buckets/denials.js";
import { curlToGet } from "../keys/commands.js";
import { useDraft } from "./drafts.js";
import { optionsOf } from "./entry-options.js";
import { format, type Format } from "./formats.js";
import { type ComparedRevisions, HistoryView } from "./history-view.js";
import { ValueEditor } from "./value-editor.js";
import { ValueView } from "./value-view.js";

export interface ValuePaneProps {
  readonly bucket: string;
  readonly name: string;
  readonly view: "value" | "history";
  readonly onView: (view: "value" | "history") => void;
  /** The form in which the value is shown, as the address names it. */
  readonly form: string | undefined;
  readonly onForm: (form: Format) => void;
  readonly compared: ComparedRevisions;
  readonly onCompare: (compared: ComparedRevisions) => void;
  readonly onClose: () => void;
  /** Whether entries may have a lifetime of their own. */
  readonly mayExpire: boolean;
  readonly denials: Denials;
}

export function ValuePane({
  bucket,
  name,
  view,
  onView,
  form: shownForm,
  onForm,
  compared,
  onCompare,
  onClose,
  denials,
  mayExpire,
}: ValuePaneProps): JSX.Element {
  const environment = useEnvironment();
  const { data, error, isPending } = useEntry(bucket, name);
  const [removing, setRemoving] = useState<"delete" | "purge">();
  const remove = useMutation(KeyValueService.method.delete);
  const isGone = hasCode(error, Code.NotFound);
  const isBucketGone = isGone && detailOf(error)?.reason === "bucket_not_found";
  const entry = isGone ? undefined : data?.entry;
  const { draft, setDraft, endDraft } = useDraft(environment, bucket, name);
  const edit = (base: Entry, form: Format): void =>
    setDraft({
      base,
      bucketCreatedAt: data?.bucketCreatedAt,
      form,
      text: format(base.value, form),
      options: optionsOf(base),
      isChanged: false,
    });
  const runRemove = (): void =>
    remove.mutate(
      { bucket, key: name, purge: removing === "purge" },
      {
        onSuccess: () => {
          toast(removing === "purge" ? "Purged the key and its history." : "Deleted the key.");
          setRemoving(undefined);
          void refreshKey(bucket, name);
        },
      },
    );
  return (
    <section className="value" aria-label="Value">
      <header className="value-head">
        <Button
          variant="quiet"
          icon="back"
          className="value-back"
          label="Back to the keys"
          onPress={onClose}
        />
        <h2 className="value-key">
          <KeyText value={name} />
        </h2>
        <Button
          variant="quiet"
          icon="copy"
          label="Copy the key"
          onPress={() => void copyText(name, "the key")}
        />
        <Menu
          label="Actions of the key"
          actions={[
            {
              name: "Copy as curl",
              icon: "copy",
              run: () => void copyText(curlToGet(environment, bucket, name), "a curl command"),
            },
            { name: "Delete", icon: "trash", reason: denials.write, run: () => setRemoving("delete") },
            {
              name: "Purge: delete with history",
              icon: "trash",
              isDangerous: true,
              reason: denials.write,
              run: () => setRemoving("purge"),
            },
          ]}
        />
        <Button
          variant="quiet"
          icon="close"
          className="value-close"
          label="Close the key"
          onPress={onClose}
        />
      </header>
      <Tabs
        className="tabs"
        selectedKey={view}
        onSelectionChange={(next) => onView(next === "history" ? "history" : "value")}
      >
        <TabList className="tab-list" aria-label="Parts of the key">
          <Tab id="value" className="tab">
            Value
          </Tab>
          <Tab id="history" className="tab">
            History
          </Tab>
        </TabList>
        <TabPanel id="value" className="tab-panel">
          {draft !== undefined && (
            <ValueEditor
              bucket={bucket}
              draft={draft}
              onDraft={setDraft}
              newestRevision={isGone ? undefined : (entry?.revision ?? draft.base.revision)}
              mayExpire={mayExpire}
              denial={denials.write ?? (isBucketGone ? sentenceOf(error) : undefined)}
              onSaved={endDraft}
              onCancel={() => setDraft(undefined)}
            />
          )}
          {draft === undefined && isPending && <Loading what="the value" />}
          {draft === undefined && isGone && !isBucketGone && (
            <p className="no-rows soft">
              This key has no value: it was deleted, has expired or was never written. The history may still
              have revisions.
            </p>
          )}
          {error !== null && (!isGone || isBucketGone) && <Notice>{sentenceOf(error)}</Notice>}
          {draft === undefined && entry !== undefined && (
            <ValueView
              entry={entry}
              chosen={shownForm}
              onChoose={onForm}
              reason={denials.write}
              onEdit={(form) => edit(entry, form)}
            />
          )}
        </TabPanel>
        <TabPanel id="history" className="tab-panel">
          <HistoryView
            bucket={bucket}
            name={name}
            compared={compared}
            onCompare={onCompare}
            currentRevision={entry?.revision}
            reason={denials.write}
          />
        </TabPanel>
      </Tabs>
      <Confirm
        title={removing === "purge" ? "Purge the key?" : "Delete the key?"}
        action={removing === "purge" ? "Purge" : "Delete"}
        isOpen={removing !== undefined}
        isBusy={remove.isPending}
        error={remove.error === null ? undefined : sentenceOf(remove.error)}
        onClose={() => setRemoving(undefined)}
        onConfirm={runRemove}
      >
        <p>
          <KeyText value={name} />
        </p>
        <p>
          {removing === "purge"
            ? "The value and all earlier revisions are removed. This can't be undone."
            : "Readers no longer see the key. Earlier revisions stay in the history, if the bucket keeps more than one."}
        </p>
      </Confirm>
    </section>
  );
}
