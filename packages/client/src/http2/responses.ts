/** Responses of the Connect protocol: their messages, errors and headers. */
import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type UnaryResponse } from "@connectrpc/connect";
import { errorFromJsonBytes, trailerDemux, validateResponse } from "@connectrpc/connect/protocol-connect";
import type { ResponseHeaders } from "./exchange.js";
import { decode, decompress } from "./messages.js";
import type { StreamingExchange } from "./streaming-exchange.js";
import type { UnaryResult } from "./unary-exchange.js";

/** The message of a unary response. Throws the error that it contains. */
export function unaryMessage<Output extends DescMessage>(
  output: Output,
  result: UnaryResult,
  bytesMax: number,
): MessageShape<Output> | Promise<MessageShape<Output>> {
  const { headers, body } = result;
  const isPlain =
    headers["content-type"] === "application/proto" && headers["content-encoding"] === undefined;
  if (headers[":status"] === 200 && isPlain) return decode(output, body);
  return otherUnaryMessage(output, result, bytesMax);
}

async function otherUnaryMessage<Output extends DescMessage>(
  output: Output,
  { headers, body }: UnaryResult,
  bytesMax: number,
): Promise<MessageShape<Output>> {
  const header = headersOf(headers);
  const status = headers[":status"] ?? 0;
  const { isUnaryError, unaryError } = validateResponse("unary", true, status, header);
  const bytes = isGzip(header.get("content-encoding")) ? await decompress(body, bytesMax) : body;
  if (isUnaryError) {
    const [metadata, trailer] = trailerDemux(header);
    trailer.forEach((value, name) => metadata.append(name, value));
    throw errorFromJsonBytes(bytes, metadata, unaryError);
  }
  return decode(output, bytes);
}

/** The headers of a streaming response. Throws ConnectError for a response that is no stream of messages. */
export function responseHeaders(methodKind: DescMethod["methodKind"], headers: ResponseHeaders): Headers {
  const header = headersOf(headers);
  validateResponse(methodKind, true, headers[":status"] ?? 0, header);
  isGzip(header.get("connect-content-encoding"));
  return header;
}

/** Throws ConnectError for any other encoding: only gzip is asked for. */
function isGzip(encoding: string | null): boolean {
  if (encoding === null || encoding === "identity") return false;
  if (encoding === "gzip") return true;
  throw new ConnectError(`The response has the unknown encoding "${encoding}".`, Code.Internal);
}

function headersOf(headers: ResponseHeaders): Headers {
  const result = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    if (Array.isArray(value)) for (const one of value) result.append(name, one);
    else result.append(name, value);
  }
  return result;
}

/** A unary response. Its `Headers` are created when asked for: they cost as much as the message. */
export class UnaryAnswer<Input extends DescMessage, Output extends DescMessage> implements UnaryResponse<
  Input,
  Output
> {
  readonly stream = false;
  private demuxed: [header: Headers, trailer: Headers] | undefined;

  constructor(
    readonly method: DescMethodUnary<Input, Output>,
    readonly message: MessageShape<Output>,
    private readonly headers: ResponseHeaders,
  ) {}

  get service(): DescService {
    return this.method.parent;
  }

  get header(): Headers {
    return (this.demuxed ??= trailerDemux(headersOf(this.headers)))[0];
  }

  get trailer(): Headers {
    return (this.demuxed ??= trailerDemux(headersOf(this.headers)))[1];
  }
}

/** A streaming response, which can be iterated once. */
export class StreamAnswer<Input extends DescMessage, Output extends DescMessage> implements StreamResponse<
  Input,
  Output
> {
  readonly stream = true;
  readonly message: AsyncIterable<MessageShape<Output>>;

  constructor(
    readonly method: DescMethodStreaming<Input, Output>,
    readonly header: Headers,
    private readonly exchange: StreamingExchange<MessageShape<Output>>,
  ) {
    this.message = { [Symbol.asyncIterator]: () => exchange };
  }

  get service(): DescService {
    return this.method.parent;
  }

  get trailer(): Headers {
    return this.exchange.trailers;
  }
}
