/** A Connect transport over HTTP/2, for Node: https://connectrpc.com/docs/protocol. Usable with any generated client. */
import type { OutgoingHttpHeaders, SecureClientSessionOptions } from "node:http2";
import { createSecureContext } from "node:tls";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { ConnectError, type Transport } from "@connectrpc/connect";
import { NotHttp2Error } from "../transport-errors.js";
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

/**
 * Creates the transport. Connects at the first call. Throws TypeError or RangeError for malformed options. `onNotHttp2` is called when a call has failed
 * because the server does not speak HTTP/2, and returns the transport that repeats it; without it, the call fails.
 */
export function createHttp2Transport(options: TransportOptions, onNotHttp2?: () => Transport): Transport {
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
    // Not an async function: each promise on the way of a call costs as much as encoding its request.
    unary(method, signal, timeoutMs, header, input) {
      return new Promise((resolve, reject) => {
        const exchange = exchangeOptions(method, "application/proto", header, signal, timeoutMs);
        const body = encodeMessage(method.input, input);
        const send = (bytes: Uint8Array): void => {
          new UnaryExchange(exchange, bytes, bytesMax, onResult, onError).start();
        };
        function onResult(result: UnaryResult): void {
          const answer = (message: MessageShape<typeof method.output>) =>
            new UnaryAnswer(method, message, result.headers);
          try {
            const message = unaryMessage(method.output, result, bytesMax);
            resolve(message instanceof Promise ? message.then(answer) : answer(message));
          } catch (error) {
            reject(ConnectError.from(error));
          }
        }
        function onError(error: ConnectError): void {
          if (onNotHttp2 === undefined || !(error.cause instanceof NotHttp2Error)) reject(error);
          else resolve(onNotHttp2().unary(method, signal, timeoutMs, header, input));
        }
        if (usesGzip) exchange.headers["accept-encoding"] = "gzip";
        if (usesGzip && isWorthCompressing(body)) {
          exchange.headers["content-encoding"] = "gzip";
          compress(body).then(send, reject);
        } else send(body);
      });
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
          onFailedToOpen: (error) => {
            // The request's messages have been read: only the next call can use the other transport. The error says that a retry helps.
            if (error.cause instanceof NotHttp2Error) onNotHttp2?.();
            reject(error);
          },
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
