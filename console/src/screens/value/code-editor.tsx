/** Shows or edits text with CodeMirror; with `original`, shows what changed since. Loaded when the first value is shown. */
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { type JSX, useEffect, useRef } from "react";
import { type EditorOptions, editorRoot, extensionsOf } from "./editor-setup.js";

/** What changed between two texts: one range. What the user reads or has selected outside of it stays. */
function differenceOf(before: string, after: string): { from: number; to: number; insert: string } {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  return { from: start, to: before.length - end, insert: after.slice(start, after.length - end) };
}

/** Large texts that differ much are compared less precisely, so that the page goes on. */
const DIFF_LIMITS = { scanLimit: 500, timeout: 200 };
const UNCHANGED_LINES = { margin: 3, minSize: 6 };

export interface CodeEditorProps extends EditorOptions {
  /** The text at first, and after each change of it by the program. */
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
  const { label, isJson, isReadOnly } = options;
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
            isJson,
            isReadOnly,
            onChange: (changed) => current.current.onChange?.(changed),
            onSave: (saved) => current.current.onSave?.(saved),
          }),
          original === undefined
            ? []
            : unifiedMergeView({
                original,
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
  }, [label, isJson, isReadOnly, original]);
  useEffect(() => {
    const view = editor.current;
    if (view === undefined || view.state.doc.toString() === text) return;
    view.dispatch({ changes: differenceOf(view.state.doc.toString(), text) });
  }, [text]);
  return <div ref={host} className="code-editor" />;
}
