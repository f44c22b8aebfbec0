/** Runs every call through one pipeline: authentication, deadline, limits, errors, metrics. */
import type { DescMethod } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { isCanceled } from "../kv/call-context.js";
import { KvError } from "../kv/errors.js";
import type { HeldMemory } from "../kv/held-memory.js";
import type { Limits } from "../kv/limits.js";
import { NOBODY } from "./access-rules.js";
import type {
  BoundMethod,
  RequestContext,
  CallInput,
  DuplexHandler,
  ServiceRegistry,
  StreamHandler,
  UnaryHandler,
} from "./calls.js";
import { type AccessControl, ANONYMOUS, type Principal, unauthenticated } from "./principal.js";
import { environmentOf, inEnvironment } from "./environment.js";
import { toConnectError } from "./errors.js";
import { bindMethods, type Services } from "./methods.js";
import type { CallObserver, CallRecord } from "./observer.js";
import { CallRateLimiter } from "./rate-limits.js";
import { LimitedStream, WatchCounts } from "./watch-limits.js";

export interface RegistryOptions extends Services {
  readonly access: AccessControl;
  /** Default: not observed. */
  readonly observer?: CallObserver | undefined;
}

/** Creates the registry of all services. */
export function createRegistry(options: RegistryOptions): ServiceRegistry {
  return new Pipeline(bindMethods(options), options);
}

class Pipeline implements ServiceRegistry {
  readonly observer: CallObserver | undefined;
  private readonly watches: WatchCounts;
  private readonly rateLimiter: CallRateLimiter | undefined;

  constructor(
    readonly methods: ReadonlyMap<string, BoundMethod>,
    private readonly options: RegistryOptions,
  ) {
    this.watches = new WatchCounts(options.limits);
    this.observer = options.observer;
    this.rateLimiter = options.limits.callsPerSecondMax > 0 ? new CallRateLimiter(options.limits) : undefined;
  }

  authenticate(method: BoundMethod, input: CallInput): Principal | undefined {
    if (input.ticket !== undefined) return undefined;
    try {
      return this.callerOf(method, input);
    } catch (error) {
      throw this.failure(method, input, this.observer?.begin(method, input, performance.now()), error);
    }
  }

  async unary(
    method: BoundMethod,
    input: CallInput,
    request: Parameters<UnaryHandler>[0],
  ): ReturnType<UnaryHandler> {
    const startMs = performance.now();
    const record = this.observer?.begin(method, input, startMs);
    let response: Awaited<ReturnType<UnaryHandler>>;
    try {
      expectKind(method, "unary");
      const context = this.contextOf(this.callerOf(method, input), input, startMs, record);
      // Receiving or decompressing the request may have used up the deadline.
      checkNotEnded(context, startMs);
      const handler = method.handler as UnaryHandler;
      const qualified = inEnvironment(request, context.environment);
      response = await (record?.within === undefined
        ? handler(qualified, context)
        : record.within(() => handler(qualified, context)));
    } catch (error) {
      throw this.failure(method, input, record, error);
    }
    record?.end(undefined);
    return response;
  }

  async stream(
    method: BoundMethod,
    input: CallInput,
    request: Parameters<StreamHandler>[0],
  ): ReturnType<StreamHandler> {
    return this.open(method, "server_streaming", input, request, (context) =>
      (method.handler as StreamHandler)(inEnvironment(request, context.environment), context),
    );
  }

  async duplex(
    method: BoundMethod,
    input: CallInput,
    requests: Parameters<DuplexHandler>[0],
  ): ReturnType<DuplexHandler> {
    return this.open(method, "bidi_streaming", input, undefined, (context) =>
      (method.handler as DuplexHandler)(requests, context),
    );
  }

  private async open(
    method: BoundMethod,
    kind: DescMethod["methodKind"],
    input: CallInput,
    request: Parameters<StreamHandler>[0] | undefined,
    start: (context: RequestContext) => ReturnType<StreamHandler>,
  ): ReturnType<StreamHandler> {
    const startMs = performance.now();
    const record = this.observer?.begin(method, input, startMs);
    try {
      expectKind(method, kind);
      const caller =
        input.ticket === undefined
          ? this.callerOf(method, input)
          : await this.callerOfTicket(input.ticket, input, request, startMs);
      const context = this.contextOf(caller, input, startMs, record);
      const release = this.watches.take(context);
      try {
        const stream = await (record?.within === undefined
          ? start(context)
          : record.within(() => start(context)));
        const limited = new LimitedStream(stream, release, {
          failed: (error) => this.failure(method, input, record, error),
          ended: () => record?.end(undefined),
        });
        limited.onEnd(caller.onEnded(() => limited.fail(unauthenticated())));
        return limited;
      } catch (error) {
        release();
        throw error;
      }
    } catch (error) {
      throw this.failure(method, input, record, error);
    }
  }

  private callerOf(method: BoundMethod, input: CallInput): Principal {
    // The secret may have been revoked while the body arrived.
    if (input.caller?.isValid === true) return input.caller;
    return method.isPublic === true ? NOBODY : this.options.access.callerOf(input);
  }

  /** Consumes the ticket, which is valid for one watch of its bucket. */
  private callerOfTicket(
    ticket: string,
    input: CallInput,
    request: Parameters<StreamHandler>[0] | undefined,
    startMs: number,
  ): Promise<Principal> {
    const { bucket = "" } = (request === undefined ? {} : inEnvironment(request, environmentOf(input))) as {
      readonly bucket?: string;
    };
    const context = { deadlineMs: startMs + this.options.limits.callTimeoutMs, signal: input.signal };
    return this.options.access.callerOfTicket(ticket, bucket, context);
  }

  private contextOf(
    caller: Principal,
    input: CallInput,
    startMs: number,
    record: CallRecord | undefined,
  ): RequestContext {
    if (record !== undefined) record.caller = caller;
    if (caller !== NOBODY && input.isContinued !== true) this.rateLimiter?.take(caller, input);
    return new InputContext(input, caller, startMs, this.options.limits);
  }

  private failure(
    method: BoundMethod,
    input: CallInput,
    record: CallRecord | undefined,
    error: unknown,
  ): ConnectError {
    const failure = toConnectError(error, input.header("x-request-id"), (fault) =>
      this.observer?.fault(fault, method, input),
    );
    record?.end(failure);
    return failure;
  }
}

/** The call's context, derived from the protocol's input. Does not read the signal before it is needed. */
class InputContext implements RequestContext {
  deadlineMs: number;
  readonly environment: string;
  private readonly extendedMs: number;

  constructor(
    private readonly input: CallInput,
    readonly caller: Principal,
    startMs: number,
    limits: Limits,
  ) {
    this.environment = environmentOf(input);
    const { timeoutMs, arrivedMs = startMs } = input;
    const longestMs = startMs + limits.callTimeoutMsMax;
    // The default timeout excludes the time to receive a large body.
    this.deadlineMs =
      timeoutMs === undefined ? startMs + limits.callTimeoutMs : Math.min(arrivedMs + timeoutMs, longestMs);
    this.extendedMs = timeoutMs === undefined ? Math.max(longestMs, this.deadlineMs) : this.deadlineMs;
  }

  extendDeadline(): void {
    this.deadlineMs = this.extendedMs;
  }

  get protocol(): CallInput["protocol"] {
    return this.input.protocol;
  }
  get signal(): AbortSignal {
    return this.input.signal;
  }
  get isCanceled(): boolean {
    return isCanceled(this.input);
  }
  get connection(): object {
    return this.input.connection;
  }
  get held(): HeldMemory {
    return this.input.held;
  }
  /** Callers without a key share an id: then each connection is a caller. */
  get flow(): unknown {
    return this.caller.id === ANONYMOUS ? this.input.connection : this.caller.id;
  }
  header(name: string): string | undefined {
    return this.input.header(name);
  }
}

/** Throws if the deadline has expired or the client has canceled before the call starts. */
function checkNotEnded(context: RequestContext, nowMs: number): void {
  if (nowMs >= context.deadlineMs)
    throw new KvError("deadline_exceeded", "The deadline expired before the call started.");
  if (isCanceled(context)) throw new KvError("canceled", "The client canceled the call before it started.");
}

function expectKind(method: BoundMethod, kind: DescMethod["methodKind"]): void {
  if (method.desc.methodKind !== kind) {
    throw new KvError(
      "unimplemented",
      `${method.desc.name} is a ${method.desc.methodKind.replace("_", "-")} method.`,
    );
  }
}
