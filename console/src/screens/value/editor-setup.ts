/** How CodeMirror looks and behaves here. It lives in a shadow root: there it uses constructed style sheets, which the page's policy allows. */
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { type LineBreak, withLineBreak } from "./line-breaks.js";

const COLORS = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--accent)" },
  { tag: tags.string, color: "var(--put)" },
  { tag: tags.number, color: "var(--purge)" },
  { tag: [tags.bool, tags.null], color: "var(--expire)", fontWeight: "600" },
]);

const THEME = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", overflow: "auto" },
  ".cm-content": { padding: "10px 0", caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { color: "var(--text-soft)", backgroundColor: "var(--surface)", border: "none" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selected) !important",
  },
  ".cm-specialChar": { color: "var(--warning)" },
  ".cm-changedLine": { backgroundColor: "var(--put-soft) !important" },
  ".cm-changedText": { background: "none !important", textDecoration: "underline", fontWeight: "700" },
  ".cm-deletedChunk": { backgroundColor: "var(--delete-soft) !important" },
  ".cm-deletedChunk .cm-deletedText": {
    background: "none !important",
    textDecoration: "underline",
    fontWeight: "700",
  },
  ".cm-collapsedLines": { color: "var(--text-soft)", background: "var(--sunken)" },
});

/**
 * Replaces selected text by what is typed. Left to itself, Chromium may give the new text the look of the replaced one by a style attribute,
 * which the page's policy refuses with an error in the browser's log. The event has the range: the editor may not know a selection of this
 * moment yet.
 */
const REPLACED_SELECTION = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { data, inputType, isComposing } = event;
    const [range] = event.getTargetRanges();
    if (inputType !== "insertText" || data === null || isComposing) return false;
    if (range === undefined || range.collapsed) return false;
    const from = view.posAtDOM(range.startContainer, range.startOffset);
    const to = view.posAtDOM(range.endContainer, range.endOffset);
    view.dispatch({
      changes: { from, to, insert: view.state.toText(data) },
      selection: { anchor: from + data.length },
      userEvent: "input.type",
      scrollIntoView: true,
    });
    return true;
  },
});

export interface EditorOptions {
  readonly label: string;
  readonly description?: string | undefined;
  readonly isJson: boolean;
  readonly isReadOnly: boolean;
  /** What ends the lines of the text. */
  readonly lineBreak: LineBreak;
  readonly onChange?: ((text: string) => void) | undefined;
  /** Gets the text of this moment: what was rendered last may be older. */
  readonly onSave?: ((text: string) => void) | undefined;
}

export function extensionsOf(options: EditorOptions): Extension[] {
  const { label, description, isJson, isReadOnly, lineBreak, onChange, onSave } = options;
  const save = ({ state }: EditorView): boolean => {
    onSave?.(state.sliceDoc());
    return true;
  };
  return [
    THEME,
    EditorState.lineSeparator.of(lineBreak),
    syntaxHighlighting(COLORS),
    lineNumbers(),
    highlightSpecialChars(),
    drawSelection(),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({
      "aria-label": label,
      ...(description === undefined ? {} : { "aria-description": description }),
      ...(isReadOnly ? { tabindex: "0", "aria-readonly": "true" } : {}),
    }),
    isJson ? [json(), bracketMatching()] : [],
    isReadOnly
      ? [EditorState.readOnly.of(true), EditorView.editable.of(false)]
      : [
          REPLACED_SELECTION,
          history(),
          EditorView.clipboardInputFilter.of((text) => withLineBreak(text, lineBreak)),
          keymap.of([
            { key: "Mod-s", run: save, preventDefault: true },
            ...defaultKeymap,
            ...historyKeymap,
            indentWithTab,
          ]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) onChange?.(update.state.sliceDoc());
          }),
        ],
  ];
}

/** The shadow root for an editor. */
export function editorRoot(host: HTMLElement): ShadowRoot {
  return host.shadowRoot ?? host.attachShadow({ mode: "open" });
}
