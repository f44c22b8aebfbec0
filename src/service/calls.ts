/**
 * The call pipeline that every protocol uses: authentication, deadlines, limits and errors.
 *
 * A protocol looks up the method in the {@link ServiceRegistry}, creates a {@link CallInput}, and runs `registry.unary` or
 * `registry.stream`. It never accesses the store.
 */
import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import type { CallContext } from "../kv/call-context.js";
import type { HeldMemory } from "../kv/held-memory.js";
import type { Principal } from "./principal.js";
import type { CallObserver } from "./observer.js";

/** The protocol of a call; a label of metrics and logs. */
export type Protocol = "grpc" | "grpc-web" | "connect" | "rest" | "websocket" | "sse";

/** What a protocol knows about a call before it runs. */
export interface CallInput {
  readonly protocol: Protocol;
  /** A request header by its lower-case name; undefined if absent. */
  header(name: string): string | undefined;
  /** The client's timeout in milliseconds; undefined if it set none. */
  readonly timeoutMs: number | undefined;
  /** Aborted when the client disconnects or the service stops. A getter if creating it is expensive. */
  readonly signal: AbortSignal;
  /** Whether the client disconnected or canceled, without creating the signal. Default: the signal's state. */
  readonly isCanceled?: boolean | undefined;
  /** When the request's headers arrived, in milliseconds of `performance.now()`. `timeoutMs` counts from then. Default: now. */
  readonly arrivedMs?: number | undefined;
  /** Identifies the connection of the call, for limits per connection. */
  readonly connection: object;
  /** Memory of what the call reads. The protocol releases it when the response is encoded, or the call has failed. */
  readonly held: HeldMemory;
  /** For a watch: a ticket in place of a key. */
  readonly ticket?: string | undefined;
  /** The caller that `authenticate` returned before the body was read. Default: the call is authenticated when it runs. */
  readonly caller?: Principal | undefined;
  /** True for a later page of a listing, which does not count towards the rate limit again. Default: false. */
  readonly isContinued?: boolean | undefined;
  /** The client's IP address, if known. A getter if finding it is expensive. */
  readonly remoteAddress?: string | undefined;
  /** The common name of the verified client certificate, if any. A getter if finding it is expensive. */
  readonly clientName?: string | undefined;
}

/** The context of a call, as handlers see it. */
export interface RequestContext extends CallContext {
  readonly protocol: Protocol;
  readonly connection: object;
  readonly caller: Principal;
  /** The namespace of the buckets that the call is about. Bucket names in the request are already qualified by it. */
  readonly environment: string;
  header(name: string): string | undefined;
}

/** Handles one unary call; throws KvError. */
export type UnaryHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (request: MessageShape<Input>, context: RequestContext) => Promise<MessageShape<Output>>;

/** The messages that a handler sends. A message is immutable once returned: protocols may share its encoded form. */
export interface MessageStream<Item> extends AsyncIterableIterator<Item> {
  /** Returns a buffered message without waiting, for protocols that send batches. Undefined if there is none. */
  poll?(): Item | undefined;
}

/** Starts one stream. Resolves when it is established; rejects if it is refused. */
export type StreamHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (request: MessageShape<Input>, context: RequestContext) => Promise<MessageStream<MessageShape<Output>>>;

/** Like {@link StreamHandler}, for a method with streaming requests. */
export type DuplexHandler<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> = (
  requests: AsyncIterable<MessageShape<Input>>,
  context: RequestContext,
) => Promise<MessageStream<MessageShape<Output>>>;

/** The handlers of one service, one for each of its methods. */
export type Handlers<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: HandlerOf<Service["method"][Name]>;
};

type HandlerOf<Method extends DescMethod> = Method extends { methodKind: "server_streaming" }
  ? StreamHandler<Method["input"], Method["output"]>
  : Method extends { methodKind: "bidi_streaming" }
    ? DuplexHandler<Method["input"], Method["output"]>
    : UnaryHandler<Method["input"], Method["output"]>;

/** One method of the contract, bound to its handler. */
export interface BoundMethod {
  /** Such as `/ironflow.kv.v1.KeyValueService/Get`. */
  readonly path: string;
  readonly service: DescService;
  readonly desc: DescMethod;
  readonly handler: UnaryHandler | StreamHandler | DuplexHandler;
  /** Needs no key. Default: false. */
  readonly isPublic?: boolean;
}

/** Every method of the service, and the pipeline that runs it. */
export interface ServiceRegistry {
  /** By path, such as `/ironflow.kv.v1.KeyValueService/Get`. */
  readonly methods: ReadonlyMap<string, BoundMethod>;
  /**
   * Authenticates a call by its headers, before its body is read: pass the result on as `CallInput.caller`. Throws like `unary`, and then
   * counts as the call. Undefined: the call has a ticket, which is used up only when the call runs.
   */
  authenticate(method: BoundMethod, input: CallInput): Principal | undefined;
  /** Runs a unary call. Every failure is a ConnectError with an `ErrorDetail`. */
  unary(
    method: BoundMethod,
    input: CallInput,
    request: MessageShape<DescMessage>,
  ): Promise<MessageShape<DescMessage>>;
  /** Runs a server-streaming call. Throws ConnectError, here or from the iterator. `return()` releases its resources at once. */
  stream(
    method: BoundMethod,
    input: CallInput,
    request: MessageShape<DescMessage>,
  ): Promise<MessageStream<MessageShape<DescMessage>>>;
  /** Runs a bidirectional streaming call; see {@link stream}. */
  duplex(
    method: BoundMethod,
    input: CallInput,
    requests: AsyncIterable<MessageShape<DescMessage>>,
  ): Promise<MessageStream<MessageShape<DescMessage>>>;
  /** Receives the bytes that protocols transfer for a call. Default: not counted. */
  readonly observer?: Pick<CallObserver, "transferred"> | undefined;
}
