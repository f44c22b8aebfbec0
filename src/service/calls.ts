/**
 * The one pipeline that every call of every door runs through: who calls, how long it may take, what it returned.
 *
 * A door finds the method in the {@link ServiceRegistry}, makes a {@link CallInput}, and runs `registry.unary` or `registry.stream`.
 * It never touches the store.
 */
import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import type { CallScope } from "../kv/store.js";

/** The wire form that a call came in by; a label of metrics and logs. */
export type Door = "grpc" | "grpc-web" | "connect" | "rest" | "websocket" | "sse";

/** What a door knows of a call before it runs. */
export interface CallInput {
  readonly door: Door;
  /** A request header by its lower-case name; undefined when it was not sent. */
  header(name: string): string | undefined;
  /** The caller's time limit in milliseconds; undefined when it gave none. */
  readonly timeoutMs: number | undefined;
  /** Aborted when the client went away or the service stops. A getter where making it costs. */
  readonly signal: AbortSignal;
  /** Names the connection that the call came by, for limits per connection. */
  readonly connection: object;
}

/** What a handler sees of its call. */
export interface CallContext extends CallScope {
  readonly door: Door;
  readonly connection: object;
  /** Who calls: the API key's id, or "anonymous". */
  readonly principal: string;
  header(name: string): string | undefined;
}

/** Answers one call; throws KvError. */
export type UnaryHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (request: MessageShape<Input>, context: CallContext) => Promise<MessageShape<Output>>;

/** Starts one stream: resolves when it is in place, so that a refusal is told apart from a stream that ends early. */
export type StreamHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (
  request: MessageShape<Input>,
  context: CallContext,
) => Promise<AsyncIterableIterator<MessageShape<Output>>>;

/** The handlers of one service: one for each of its methods, unary or server-streaming. */
export type Handlers<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: Service["method"][Name] extends {
    methodKind: "server_streaming";
  }
    ? StreamHandler<Service["method"][Name]["input"], Service["method"][Name]["output"]>
    : UnaryHandler<Service["method"][Name]["input"], Service["method"][Name]["output"]>;
};

/** One method of the contract, bound to what answers it. */
export interface BoundMethod {
  /** `/ironflow.kv.v1.KeyValueService/Get` */
  readonly path: string;
  readonly service: DescService;
  readonly desc: DescMethod;
  readonly handler: UnaryHandler | StreamHandler;
}

/** Every method that the service answers, and the pipeline to call it by. */
export interface ServiceRegistry {
  /** By path, such as `/ironflow.kv.v1.KeyValueService/Get`. */
  readonly methods: ReadonlyMap<string, BoundMethod>;
  /** Runs a unary call. Throws ConnectError, with an `ErrorDetail`, for every failure. */
  unary(
    method: BoundMethod,
    input: CallInput,
    request: MessageShape<DescMessage>,
  ): Promise<MessageShape<DescMessage>>;
  /** Runs a server-streaming call. Throws ConnectError, here or from the iterator; `return()` frees everything at once. */
  stream(
    method: BoundMethod,
    input: CallInput,
    request: MessageShape<DescMessage>,
  ): Promise<AsyncIterableIterator<MessageShape<DescMessage>>>;
}
