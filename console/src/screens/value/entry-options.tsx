/** What is stored with a value: its content type, how long it lives, and metadata. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Entry } from "@ironflow-kv/client/gen";
import type { JSX } from "react";
import { TextField } from "../../ui/field.js";
import { formatSeconds, parseSeconds } from "../../ui/format.js";

/** As the user writes it. */
export interface EntryOptions {
  readonly contentType: string;
  readonly ttl: string;
  /** A line for each: `name: value`. */
  readonly metadata: string;
}

export const NO_OPTIONS: EntryOptions = { contentType: "application/json", ttl: "", metadata: "" };

/** The options of a stored entry. The rest of its lifetime becomes the new one. */
export function optionsOf({ contentType, expiresAt, metadata }: Entry): EntryOptions {
  const leftSeconds = expiresAt === undefined ? 0 : Math.ceil((timestampMs(expiresAt) - Date.now()) / 1_000);
  return {
    contentType,
    ttl: leftSeconds > 0 ? formatSeconds(leftSeconds) : "",
    metadata: Object.entries(metadata)
      .map(([name, value]) => `${name}: ${value}`)
      .join("\n"),
  };
}

/** The fields of a Put. Undefined: see `optionsError`. */
export function fieldsOf({ contentType, ttl, metadata }: EntryOptions) {
  const seconds = parseSeconds(ttl) ?? 0;
  return {
    contentType,
    metadata: Object.fromEntries(metadataOf(metadata)),
    ...(seconds === 0 ? {} : { ttl: { seconds: BigInt(Math.ceil(seconds)) } }),
  };
}

/** Why the options can't be sent; undefined if they can. */
export function optionsError({ ttl, metadata }: EntryOptions): string | undefined {
  if (parseSeconds(ttl) === undefined) return TTL_ERROR;
  return metadataError(metadata);
}

const TTL_ERROR = "Write a time such as 90s, 1h 30m or 7d.";

function metadataOf(text: string): [name: string, value: string][] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
}

function metadataError(text: string): string | undefined {
  const bad = text
    .split("\n")
    .find((line) => line.trim() !== "" && !/^\s*[a-z0-9][a-z0-9._-]{0,63}\s*:/.test(line));
  return bad === undefined
    ? undefined
    : `“${bad}” is no metadata: write a name of a-z 0-9 - _ . and its value, such as owner: checkout.`;
}

export interface EntryOptionsFieldsProps {
  readonly options: EntryOptions;
  readonly onChange: (options: EntryOptions) => void;
  /** Whether entries of the bucket may have a lifetime of their own: its history is 1. */
  readonly mayExpire: boolean;
}

export function EntryOptionsFields({ options, onChange, mayExpire }: EntryOptionsFieldsProps): JSX.Element {
  const { contentType, ttl, metadata } = options;
  return (
    <>
      <div className="field-row">
        <TextField
          label="Content type"
          isMono
          value={contentType}
          onChange={(next) => onChange({ ...options, contentType: next })}
          placeholder="none"
        />
        {mayExpire && (
          <TextField
            label="Lives for"
            value={ttl}
            onChange={(next) => onChange({ ...options, ttl: next })}
            placeholder="as long as the bucket says"
            error={parseSeconds(ttl) === undefined ? TTL_ERROR : undefined}
          />
        )}
      </div>
      <TextField
        label="Metadata"
        isMono
        rows={2}
        value={metadata}
        onChange={(next) => onChange({ ...options, metadata: next })}
        placeholder="owner: checkout"
        error={metadataError(metadata)}
      />
    </>
  );
}
