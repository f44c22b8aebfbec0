/** Commands for a terminal that do what a screen does, in an environment. */
import { DEFAULT_ENVIRONMENT } from "../../api/environment.js";
import { currentSession } from "../../api/session.js";
import { ENVIRONMENT_HEADER } from "../../api/transport.js";

/** The command to read a key's value. The key of the session is left out: it must not end up in a shell's history by accident. */
export function curlToGet(environment: string, bucket: string, key: string): string {
  return `curl ${headers(environment)}${quoted(`${keyUrl(bucket, key)}?raw=true`)}`;
}

export function curlToPut(environment: string, bucket: string, key: string, value: string): string {
  return `curl -X PUT ${headers(environment)}-H 'Content-Type: application/json' \\\n  -d ${quoted(value)} ${quoted(keyUrl(bucket, key))}`;
}

export function curlToCreateBucket(environment: string, name: string): string {
  return `curl -X POST ${headers(environment)}-H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify({ name }))} ${quoted(`${location.origin}/api/v1/kv/buckets`)}`;
}

function keyUrl(bucket: string, key: string): string {
  return `${location.origin}/api/v1/kv/buckets/${bucket}/keys/${encodeURIComponent(key)}`;
}

function headers(environment: string): string {
  const authorization = currentSession().apiKey === "" ? "" : `-H "Authorization: Bearer $IRONFLOW_API_KEY" `;
  return environment === DEFAULT_ENVIRONMENT
    ? authorization
    : `${authorization}-H '${ENVIRONMENT_HEADER}: ${environment}' `;
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
