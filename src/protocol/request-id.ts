/** The id that a request goes by in answers and logs: the client's, or one that is made here. */
import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const REQUEST_ID_HEADER = "x-request-id";

/** What a client may send: it is logged and sent back as it is. */
const WELL_FORMED = /^[A-Za-z0-9._:/+=@~-]{1,128}$/;

/** Made ids are unique by the process's prefix and a count: a random number for each would cost more than the rest of a small call. */
const prefix = `${randomBytes(8).toString("hex")}-`;
let made = 0;

/**
 * The request's id. Where the client sent none, or nothing fit to be one, it is made, and stands in the request's headers from then on: so
 * that whoever asks for it gets the same.
 */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers[REQUEST_ID_HEADER];
  if (typeof given === "string" && WELL_FORMED.test(given)) return given;
  const id = prefix + (++made).toString();
  headers[REQUEST_ID_HEADER] = id;
  return id;
}
