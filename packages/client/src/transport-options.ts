/** How calls reach the service: what the transports of Node and of browsers have in common. */

import type { OptionNames } from "./options.js";

export const DEFAULT_SERVER_URL = "http://localhost:9123";

export interface TransportOptions {
  /** The service's URL. In a browser, a path such as `/` is relative to the page's origin. Default: http://localhost:9123. */
  readonly serverUrl?: string | URL | undefined;
  /**
   * A replacement for the global `fetch`. In Node, calls then use it instead of HTTP/2: pass `globalThis.fetch` to use HTTP/1.1 and the
   * process's fetch settings, such as a proxy.
   */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Compress requests of 1 KiB or more, and ask for compressed responses, with gzip. Default: false. In browsers, `fetch` decides. */
  readonly compression?: boolean | undefined;
  /**
   * The most bytes of a response, or of one message of a stream, also after decompression. A larger one fails its call
   * (`response_too_large`). Default: 64 MiB. Node only.
   */
  readonly responseBytesMax?: number | undefined;
  /** TLS settings for an https URL. Node only. */
  readonly tls?: TlsOptions | undefined;
  /** Limits of the HTTP/2 connections. Node only. */
  readonly http2?: Partial<Http2Limits> | undefined;
}

export const TRANSPORT_OPTIONS: OptionNames<TransportOptions> = {
  ...{ serverUrl: true, fetch: true, compression: true, responseBytesMax: true, tls: true, http2: true },
};

/** PEM text; several for a chain or several authorities. */
export type Pem = string | Uint8Array | readonly (string | Uint8Array)[];

export interface TlsOptions {
  /** The certificate authorities to trust. Default: Node's. */
  readonly ca?: Pem | undefined;
  /** The client certificate, with `key`. */
  readonly cert?: Pem | undefined;
  /** The private key of `cert`. */
  readonly key?: string | Uint8Array | undefined;
  /** The passphrase of `key`. */
  readonly passphrase?: string | undefined;
  /** The name that the server's certificate must have. Default: the URL's host. */
  readonly serverName?: string | undefined;
}

/** Limits of the HTTP/2 connections to one service. */
export interface Http2Limits {
  /** The most connections. A second one is opened only when the server accepts no more streams on the first. Default: 4. */
  readonly connectionsMax: number;
  /** Time for a connection to be established, TLS included, in milliseconds. Default: 10,000. */
  readonly connectTimeoutMs: number;
  /** Interval of pings while calls are in flight, in milliseconds. Default: 5,000. */
  readonly pingIntervalMs: number;
  /** Time for the answer to a ping, in milliseconds. Then the connection is closed, and its calls fail. Default: 3,000. */
  readonly pingTimeoutMs: number;
  /** How long a connection without calls stays open, in milliseconds. It does not keep the process running. Default: 60,000. */
  readonly idleTimeoutMs: number;
}

/** The service's URL, checked. Throws TypeError. */
export function baseUrlOf({ serverUrl = DEFAULT_SERVER_URL }: TransportOptions): URL {
  const { location } = globalThis as { location?: { href: string } };
  const text = String(serverUrl);
  const url = URL.canParse(text, location?.href) ? new URL(text, location?.href) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new TypeError(
      `serverUrl is ${JSON.stringify(text)}; it must be a URL such as ${DEFAULT_SERVER_URL}.`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new TypeError(
      "serverUrl has a user, password, query or fragment; remove it, and pass the API key as apiKey.",
    );
  }
  return url;
}
