/** What every client of the matrix does in one bucket, and the lines that it prints of it. */
import { createClient } from "@ironflow-kv/client";
import { freshName, type TestService } from "../support/service.js";

export const API_KEY = "the-key-of-the-client-matrix";

/** A key that does not exist, of characters that clients decode in different ways. */
export const MISSING_KEY = 'é: "%41"';
export const MISSING = String.raw`The key "é: \"%41\"" has no value in the bucket`;

/** The spelling of gRPC's codes in a language. */
export interface CodeNames {
  readonly conflict: string;
  readonly tooLarge: string;
  readonly unauthenticated: string;
  /** Absent: the client sets no deadline. */
  readonly deadline?: string;
}

export const UPPER_CASE_CODES = {
  conflict: "ALREADY_EXISTS",
  tooLarge: "RESOURCE_EXHAUSTED",
  unauthenticated: "UNAUTHENTICATED",
  deadline: "DEADLINE_EXCEEDED",
} as const satisfies CodeNames;

/**
 * Put of the key "k", Get, Put if absent, Put of a value that is too large, Get of {@link MISSING_KEY}, Get without a key, and Watch: until its first
 * event, and until its deadline.
 */
export function expectedLines(bucket: string, codes: CodeNames): string[] {
  return [
    "put true",
    "get Ann",
    `conflict ${codes.conflict}`,
    `too large ${codes.tooLarge}`,
    `missing ${MISSING} "${bucket}".`,
    `without key ${codes.unauthenticated}`,
    "watch k",
    ...(codes.deadline === undefined ? [] : [`deadline ${codes.deadline}`]),
  ];
}

/** `ca`: the certificate of a service with TLS. */
export async function createMatrixBucket(service: TestService, ca?: string): Promise<string> {
  const name = freshName();
  const tls = ca === undefined ? {} : { tls: { ca } };
  const client = createClient({ serverUrl: service.url, apiKey: API_KEY, ...tls });
  await client.kv().createBucket({ name });
  return name;
}
