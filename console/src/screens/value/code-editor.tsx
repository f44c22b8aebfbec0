/** Shows or edits text with CodeMirror; with `original`, shows what changed since. Loaded when the first value is shown. */
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState, Text } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { type JSX, useEffect, useRef, useState } from "react";
import { type EditorOptions, editorRoot, extensionsOf } from "./editor-setup.js";
import { lineBreakOf } from "./line-breaks.js";

/** What changed between two documents: one range. What the user reads or has selected outside of it stays. */
function differenceOf(document: Text, changed: Text): { from: number; to: number; insert: Text } {
  const [before, after] = [document.toString(), changed.toString()];
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  return { from: start, to: before.length - end, insert: changed.slice(start, after.length - end) };
}

/** Large texts that differ much are compared less precisely, so that the page goes on. */
const DIFF_LIMITS = { scanLimit: 500, timeout: 200 };
const UNCHANGED_LINES = { margin: 3, minSize: 6 };

export interface CodeEditorProps extends Omit<EditorOptions, "lineBreak"> {
  /** The text at first, and after each change of it by the program. A text to edit keeps its line ends: another one needs another editor. */
  readonly text: string;
  /** The text to compare with. Undefined: no comparison. */
  readonly original?: string | undefined;
}

export default function CodeEditor({ text, original, ...options }: CodeEditorProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorView>(undefined);
  const current = useRef(options);
  useEffect(() => {
    current.current = options;
  });
  const { label, description, isJson, isReadOnly } = options;
  const [firstBreak] = useState(() => lineBreakOf(text));
  const lineBreak = isReadOnly ? lineBreakOf(text, original ?? "") : firstBreak;
  useEffect(() => {
    if (host.current === null) return;
    const root = editorRoot(host.current);
    const view = new EditorView({
      parent: root,
      root,
      state: EditorState.create({
        doc: text,
        extensions: [
          extensionsOf({
            label,
            description,
            isJson,
            isReadOnly,
            lineBreak,
            onChange: (changed) => current.current.onChange?.(changed),
            onSave: (saved) => current.current.onSave?.(saved),
          }),
          original === undefined
            ? []
            : unifiedMergeView({
                original: Text.of(original.split(lineBreak)),
                mergeControls: false,
                gutter: false,
                collapseUnchanged: UNCHANGED_LINES,
                diffConfig: DIFF_LIMITS,
              }),
        ],
      }),
    });
    editor.current = view;
    if (!isReadOnly) view.focus();
    return () => view.destroy();
    // A new text replaces the content below: the editor stays.
  }, [label, description, isJson, isReadOnly, lineBreak, original]);
  useEffect(() => {
    const view = editor.current;
    if (view === undefined || view.state.sliceDoc() === text) return;
    view.dispatch({ changes: differenceOf(view.state.doc, view.state.toText(text)) });
  }, [text]);
  return <div ref={host} className="code-editor" />;
}
