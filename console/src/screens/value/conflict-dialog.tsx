/** Two people changed one value: shows both and what differs, and lets the user decide. */
import type { Entry } from "@ironflow-kv/client/gen";
import type { JSX } from "react";
import { Tab, TabList, TabPanel, Tabs } from "react-aria-components";
import { Button } from "../../ui/button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { formatCount } from "../../ui/format.js";
import { format, type Format, textOf } from "./formats.js";
import { LazyEditor } from "./lazy-editor.js";

export interface ConflictDialogProps {
  readonly mine: Uint8Array;
  readonly theirs: Entry;
  readonly form: Format;
  readonly isSaving: boolean;
  readonly onOverwrite: () => void;
  readonly onTakeTheirs: () => void;
  readonly onKeepEditing: () => void;
}

export function ConflictDialog(props: ConflictDialogProps): JSX.Element {
  const { mine, theirs, isSaving, onOverwrite, onTakeTheirs, onKeepEditing } = props;
  const form = props.form === "hex" || textOf(theirs.value) !== undefined ? props.form : "hex";
  const myText = format(mine, form);
  const theirText = format(theirs.value, form);
  const isJson = form === "json";
  const reason = isSaving ? "The value is being saved." : undefined;
  return (
    <Dialog title="Someone changed this value" size="large" isOpen onClose={onKeepEditing}>
      <p>
        While you were editing, the key got revision {formatCount(theirs.revision)}. Nothing of yours was
        saved, and nothing of theirs is lost yet.
      </p>
      <Tabs className="tabs conflict" defaultSelectedKey="diff">
        <TabList className="tab-list" aria-label="Versions">
          <Tab id="diff" className="tab">
            Difference
          </Tab>
          <Tab id="mine" className="tab">
            Yours
          </Tab>
          <Tab id="theirs" className="tab">
            Theirs
          </Tab>
        </TabList>
        <TabPanel id="diff" className="tab-panel">
          <p className="hint">Red: theirs. Green: yours.</p>
          <LazyEditor text={myText} original={theirText} label="Difference" isJson={isJson} isReadOnly />
        </TabPanel>
        <TabPanel id="mine" className="tab-panel">
          <LazyEditor text={myText} label="Yours" isJson={isJson} isReadOnly />
        </TabPanel>
        <TabPanel id="theirs" className="tab-panel">
          <LazyEditor text={theirText} label="Theirs" isJson={isJson} isReadOnly />
        </TabPanel>
      </Tabs>
      <DialogActions>
        <Button onPress={onTakeTheirs}>Discard mine, use theirs</Button>
        <Button onPress={onKeepEditing}>Keep editing mine</Button>
        <Button variant="danger" reason={reason} onPress={onOverwrite}>
          Overwrite theirs
        </Button>
      </DialogActions>
    </Dialog>
  );
}
