/** How a request proves who sends it: the security schemes of the document. */
import type { Json } from "./schemas.js";

export const SECURITY_SCHEMES: Json = {
  apiKey: {
    type: "http",
    scheme: "bearer",
    description: "An API key. Not needed if the service has no keys.",
  },
  watchTicket: {
    type: "apiKey",
    in: "query",
    name: "ticket",
    description: "A ticket from `createWatchTicket`, for one watch from a browser.",
  },
  watchToken: {
    type: "apiKey",
    in: "query",
    name: "token",
    description: "An API key, for existing browser SDKs; prefer a ticket. Watches only.",
  },
};

/** Of every call: a key, or nothing, while the service has no keys. */
export const CREDENTIALS: readonly Json[] = [{ apiKey: [] }, {}];
export const WATCH_CREDENTIALS: readonly Json[] = [
  { apiKey: [] },
  { watchTicket: [] },
  { watchToken: [] },
  {},
];
