/** The one API key that IRONFLOW_API_KEY sets: who has it may do everything. */
import { createHash, timingSafeEqual } from "node:crypto";
import { KvError } from "../kv/errors.js";
import type { CallInput } from "../service/calls.js";
import { ANONYMOUS } from "../service/watch-limits.js";

const BEARER = /^Bearer +(\S+) *$/i;

/**
 * Makes the check that every call of every door passes. Without a key everyone may call. The answer is the same for a missing
 * and a wrong key, and the comparison takes the same time for any key.
 */
export function createAuthenticate(apiKey: string | undefined): (input: CallInput) => string {
  if (apiKey === undefined) return () => ANONYMOUS;
  const expected = digest(apiKey);
  return (input) => {
    const given = BEARER.exec(input.header("authorization") ?? "")?.[1];
    if (given === undefined || !timingSafeEqual(digest(given), expected)) {
      throw new KvError(
        "unauthenticated",
        "This service needs an API key; send it as 'Authorization: Bearer <key>'.",
      );
    }
    return "admin";
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
