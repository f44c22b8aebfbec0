/** The request ID in responses and logs: the client's, or a generated one. */
import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const REQUEST_ID_HEADER = "x-request-id";

/** A valid client request ID: it is logged and returned unchanged. */
const WELL_FORMED = /^[A-Za-z0-9._:/+=@~-]{1,128}$/;

/** Generated IDs are a random prefix of the process and a counter: a random number for each would cost more than a small call. */
const prefix = `${randomBytes(8).toString("hex")}-`;
let generated = 0;

/**
 * The request's ID. If the client sent none or an invalid one, generates one and stores it in `headers`, so later calls return the same.
 */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers[REQUEST_ID_HEADER];
  if (typeof given === "string" && WELL_FORMED.test(given)) return given;
  const id = prefix + (++generated).toString();
  headers[REQUEST_ID_HEADER] = id;
  return id;
}
