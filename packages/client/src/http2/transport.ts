/** A Connect transport over HTTP/2, for Node: https://connectrpc.com/docs/protocol. Usable with any generated client. */
import type { OutgoingHttpHeaders, SecureClientSessionOptions } from "node:http2";
import { createSecureContext } from "node:tls";
import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectError, Transport } from "@connectrpc/connect";
import { baseUrlOf, type Http2Limits, type TlsOptions, type TransportOptions } from "../transport-options.js";
import { ConnectionPool } from "./connection-pool.js";
import { envelopeOf } from "./envelopes.js";
import type { ExchangeOptions } from "./exchange.js";
import { encodeMessage } from "../binary/encoder.js";
import { compress, decode, isWorthCompressing } from "./messages.js";
import { responseHeaders, StreamAnswer, UnaryAnswer, unaryMessage } from "./responses.js";
import { type RequestBody, StreamingExchange } from "./streaming-exchange.js";
import { UnaryExchange, type UnaryResult } from "./unary-exchange.js";

const RESPONSE_BYTES_MAX = 67_108_864;
const DEFAULT_LIMITS: Http2Limits = {
  connectionsMax: 4,
  connectTimeoutMs: 10_000,
  pingIntervalMs: 5_000,
  pingTimeoutMs: 3_000,
  idleTimeoutMs: 60_000,
};

/** Creates the transport. Connects at the first call. Throws TypeError or RangeError for malformed options. */
export function createHttp2Transport(options: TransportOptions): Transport {
  const baseUrl = baseUrlOf(options);
  const limits = limitsOf(options.http2);
  const pool = new ConnectionPool(baseUrl.origin, tlsOf(baseUrl, options.tls), limits);
  const pathPrefix = baseUrl.pathname.replace(/\/$/, "");
  const paths = new Map<DescMethod, string>();
  const bytesMax = positive(options.responseBytesMax ?? RESPONSE_BYTES_MAX, "responseBytesMax");
  const usesGzip = options.compression === true;

  function exchangeOptions(
    method: DescMethod,
    contentType: string,
    header: HeadersInit | undefined,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): ExchangeOptions {
    let path = paths.get(method);
    if (path === undefined) {
      path = `${pathPrefix}/${method.parent.typeName}/${method.name}`;
      paths.set(method, path);
    }
    const headers: OutgoingHttpHeaders = { ":method": "POST", ":path": path };
    addHeaders(headers, header);
    headers["content-type"] = contentType;
    headers["connect-protocol-version"] = "1";
    const limitMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
    if (limitMs !== undefined) headers["connect-timeout-ms"] = Math.ceil(limitMs).toString();
    return { pool, headers, signal, timeoutMs: limitMs };
  }

  return {
    async unary(method, signal, timeoutMs, header, input) {
      const exchange = exchangeOptions(method, "application/proto", header, signal, timeoutMs);
      let body = encodeMessage(method.input, input);
      if (usesGzip) {
        exchange.headers["accept-encoding"] = "gzip";
        if (isWorthCompressing(body)) {
          exchange.headers["content-encoding"] = "gzip";
          body = await compress(body);
        }
      }
      const result = await new Promise<UnaryResult>((resolve, reject: (error: ConnectError) => void) => {
        new UnaryExchange(exchange, body, bytesMax, resolve, reject).start();
      });
      const message = unaryMessage(method.output, result, bytesMax);
      return new UnaryAnswer(method, message instanceof Promise ? await message : message, result.headers);
    },

    async stream(method, signal, timeoutMs, header, input) {
      const options = exchangeOptions(method, "application/connect+proto", header, signal, timeoutMs);
      if (usesGzip) options.headers["connect-accept-encoding"] = "gzip";
      const body: RequestBody =
        method.methodKind === "server_streaming"
          ? envelopeOf(method.input, await first(input))
          : { [Symbol.asyncIterator]: () => envelopes(method.input, input) };
      return await new Promise((resolve, reject: (error: ConnectError) => void) => {
        const exchange = new StreamingExchange(options, body, {
          bytesMax,
          decode: (bytes) => decode(method.output, bytes),
          onOpened: (headers) =>
            resolve(new StreamAnswer(method, responseHeaders(method.methodKind, headers), exchange)),
          onFailedToOpen: reject,
        });
        exchange.start();
      });
    },
  };
}

async function first<Message>(input: AsyncIterable<Message>): Promise<Message> {
  for await (const message of input) return message;
  throw new TypeError("The request has no message; a server-streaming call needs one.");
}

async function* envelopes<Input extends DescMessage>(
  desc: Input,
  messages: AsyncIterable<MessageInitShape<Input>>,
): AsyncGenerator<Uint8Array> {
  for await (const message of messages) yield envelopeOf(desc, message);
}

function addHeaders(target: OutgoingHttpHeaders, header: HeadersInit | undefined): void {
  if (header === undefined) return;
  if (header instanceof Headers || Array.isArray(header)) {
    new Headers(header).forEach((value, name) => (target[name] = value));
  } else {
    for (const name in header) target[name.toLowerCase()] = header[name];
  }
}

function limitsOf(given: Partial<Http2Limits> | undefined): Http2Limits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) positive(value, `http2.${name}`);
  return limits;
}

function positive(value: number, name: string): number {
  if (!(value > 0)) throw new RangeError(`${name} is ${value}; it must be more than 0.`);
  return value;
}

/** The TLS options of each connection, with the certificates read once. Throws for certificates that can't be read. */
function tlsOf(url: URL, tls: TlsOptions | undefined): SecureClientSessionOptions {
  if (tls === undefined || url.protocol !== "https:") return {};
  const { ca, cert, key, passphrase, serverName } = tls;
  const pem = (text: TlsOptions["ca"]): (string | Buffer)[] | undefined =>
    text === undefined
      ? undefined
      : [text].flat().map((one) => (typeof one === "string" ? one : Buffer.from(one)));
  const secureContext = createSecureContext({
    ca: pem(ca),
    cert: pem(cert),
    key: pem(key),
    passphrase,
  });
  return { secureContext, ...(serverName === undefined ? {} : { servername: serverName }) };
}
