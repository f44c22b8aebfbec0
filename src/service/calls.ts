/**
 * The one pipeline that every call of every door runs through: who calls, how long it may take, what it returned.
 *
 * A door finds the method in the {@link ServiceRegistry}, makes a {@link CallInput}, and runs `registry.unary` or `registry.stream`.
 * It never touches the store.
 */
import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import type { CallScope } from "../kv/store.js";
import type { Principal } from "./principal.js";
import type { CallObserver } from "./observer.js";

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
  /** Whether the client went away, without making the signal. Default: what the signal says. */
  readonly isCanceled?: boolean | undefined;
  /** When the request's headers arrived, in milliseconds of `performance.now()`: `timeoutMs` counts from there. Default: now. */
  readonly arrivedMs?: number | undefined;
  /** Names the connection that the call came by, for limits per connection. */
  readonly connection: object;
  /** Of a watch: the ticket that it brings in place of a key. */
  readonly ticket?: string | undefined;
  /** A later page of a list that was counted against the limit on calls already. Default: no. */
  readonly isContinued?: boolean | undefined;
  /** The client's IP address, as far as it is known. A getter where finding it costs. */
  readonly remoteAddress?: string | undefined;
  /** The common name of the client's certificate, where one was verified. A getter where finding it costs. */
  readonly clientName?: string | undefined;
}

/** What a handler sees of its call. */
export interface CallContext extends CallScope {
  readonly door: Door;
  readonly connection: object;
  readonly caller: Principal;
  header(name: string): string | undefined;
}

/** Answers one call; throws KvError. */
export type UnaryHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (request: MessageShape<Input>, context: CallContext) => Promise<MessageShape<Output>>;

/** What a handler sends, one by one. A message is never changed once it was handed out: doors may share its encoded form. */
export interface MessageStream<Item> extends AsyncIterableIterator<Item> {
  /** A message that is at hand, without waiting, for doors that send many at once. Where there is none `next()` waits, or tells the end. */
  poll?(): Item | undefined;
}

/** Starts one stream: resolves when it is in place, so that a refusal is told apart from a stream that ends early. */
export type StreamHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (request: MessageShape<Input>, context: CallContext) => Promise<MessageStream<MessageShape<Output>>>;

/** As {@link StreamHandler}, for a method whose requests stream in as well. */
export type DuplexHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (
  requests: AsyncIterable<MessageShape<Input>>,
  context: CallContext,
) => Promise<MessageStream<MessageShape<Output>>>;

/** The handlers of one service: one for each of its methods, of the method's kind. */
export type Handlers<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: HandlerOf<Service["method"][Name]>;
};

type HandlerOf<Method extends DescMethod> = Method extends { methodKind: "server_streaming" }
  ? StreamHandler<Method["input"], Method["output"]>
  : Method extends { methodKind: "bidi_streaming" }
    ? DuplexHandler<Method["input"], Method["output"]>
    : UnaryHandler<Method["input"], Method["output"]>;

/** One method of the contract, bound to what answers it. */
export interface BoundMethod {
  /** `/ironflow.kv.v1.KeyValueService/Get` */
  readonly path: string;
  readonly service: DescService;
  readonly desc: DescMethod;
  readonly handler: UnaryHandler | StreamHandler | DuplexHandler;
  /** Answered without a key. Default: no. */
  readonly isPublic?: boolean;
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
  ): Promise<MessageStream<MessageShape<DescMessage>>>;
  /** Runs a call with streams both ways; as {@link stream}. */
  duplex(
    method: BoundMethod,
    input: CallInput,
    requests: AsyncIterable<MessageShape<DescMessage>>,
  ): Promise<MessageStream<MessageShape<DescMessage>>>;
  /** Where doors tell how many bytes they moved for a call. Default: nobody counts. */
  readonly observer?: Pick<CallObserver, "transferred"> | undefined;
}
