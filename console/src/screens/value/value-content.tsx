/** A value in one of its forms, to read. */
import { type JSX, useEffect, useMemo, useState } from "react";
import { format, type Format, imageTypeOf } from "./formats.js";
import { LazyEditor } from "./lazy-editor.js";

export interface ValueContentProps {
  readonly bytes: Uint8Array;
  readonly contentType: string;
  readonly form: Format;
  readonly label: string;
}

export function ValueContent({ bytes, contentType, form, label }: ValueContentProps): JSX.Element {
  const text = useMemo(() => (form === "image" ? "" : format(bytes, form)), [bytes, form]);
  if (form === "image")
    return <Picture bytes={bytes} type={imageTypeOf(bytes, contentType) ?? ""} label={label} />;
  return <LazyEditor text={text} label={label} isJson={form === "json"} isReadOnly />;
}

function Picture({
  bytes,
  type,
  label,
}: {
  readonly bytes: Uint8Array;
  readonly type: string;
  readonly label: string;
}): JSX.Element {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const created = URL.createObjectURL(new Blob([new Uint8Array(bytes)], { type }));
    setUrl(created);
    return () => URL.revokeObjectURL(created);
  }, [bytes, type]);
  return <div className="picture">{url !== undefined && <img src={url} alt={`${label} as an image`} />}</div>;
}
