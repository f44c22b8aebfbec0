/** Commands for a terminal that do what a screen does. */
import { currentSession } from "../../api/session.js";

/** The command to read a key's value. The key of the session is left out: it must not end up in a shell's history by accident. */
export function curlToGet(bucket: string, key: string): string {
  return `curl ${authorization()}${quoted(`${keyUrl(bucket, key)}?raw=true`)}`;
}

export function curlToPut(bucket: string, key: string, value: string): string {
  return `curl -X PUT ${authorization()}-H 'Content-Type: application/json' \\\n  -d ${quoted(value)} ${quoted(keyUrl(bucket, key))}`;
}

export function curlToCreateBucket(name: string): string {
  return `curl -X POST ${authorization()}-H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify({ name }))} ${quoted(`${location.origin}/api/v1/kv/buckets`)}`;
}

function keyUrl(bucket: string, key: string): string {
  return `${location.origin}/api/v1/kv/buckets/${bucket}/keys/${encodeURIComponent(key)}`;
}

function authorization(): string {
  return currentSession().apiKey === "" ? "" : `-H "Authorization: Bearer $IRONFLOW_API_KEY" `;
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
