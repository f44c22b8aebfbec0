import { type JSX, lazy, Suspense } from "react";
import { Loading } from "../../ui/states.js";
import type { CodeEditorProps } from "./code-editor.js";

const CodeEditor = lazy(() => import("./code-editor.js"));

export function LazyEditor(props: CodeEditorProps): JSX.Element {
  return (
    <Suspense fallback={<Loading what="the editor" />}>
      <CodeEditor {...props} />
    </Suspense>
  );
}
