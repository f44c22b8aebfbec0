/** Binds the contract's methods to their handlers and runs every call through the one pipeline: auth, time, limits, errors, metrics. */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import type { Store } from "../kv/store.js";
import { bucketHandlers } from "./bucket-service.js";
import type {
  BoundMethod,
  CallContext,
  CallInput,
  Handlers,
  ServiceRegistry,
  StreamHandler,
  UnaryHandler,
} from "./calls.js";
import { toConnectError } from "./errors.js";
import { keyValueHandlers } from "./key-value-service.js";
import { LimitedStream, WatchCounts } from "./watch-limits.js";

/** Tells who calls; throws `unauthenticated` or `permission_denied`. */
export type Authenticate = (input: CallInput, method: BoundMethod) => string;

/** Sees how each call ended: for logs and metrics. `error` is undefined when it went well. */
export type CallObserver = (call: {
  readonly method: BoundMethod;
  readonly input: CallInput;
  readonly durationMs: number;
  readonly error: unknown;
}) => void;

export interface RegistryOptions {
  readonly store: Store;
  readonly limits: Limits;
  readonly authenticate: Authenticate;
  /** Logs a fault of ours with its cause: once per fault. */
  readonly onFault: (error: unknown, method: BoundMethod) => void;
  /** Default: nobody looks. */
  readonly observe?: CallObserver | undefined;
}

/** The registry of both services on a store. */
export function createRegistry(options: RegistryOptions): ServiceRegistry {
  const methods = new Map<string, BoundMethod>();
  bind(methods, BucketService, bucketHandlers(options.store));
  bind(methods, KeyValueService, keyValueHandlers(options.store));
  return new Pipeline(methods, options);
}

/** Adds every method of a service. A method without a handler does not compile, so none can be left out. */
function bind<Service extends DescService>(
  methods: Map<string, BoundMethod>,
  service: Service,
  handlers: Handlers<Service>,
): void {
  const byName = handlers as Readonly<Record<string, BoundMethod["handler"]>>;
  for (const desc of service.methods) {
    const handler = byName[desc.localName];
    if (handler === undefined) throw new Error(`${service.typeName}.${desc.name} has no handler`);
    const path = `/${service.typeName}/${desc.name}`;
    methods.set(path, { path, service, desc, handler });
  }
}

class Pipeline implements ServiceRegistry {
  private readonly watches: WatchCounts;

  constructor(
    readonly methods: ReadonlyMap<string, BoundMethod>,
    private readonly options: RegistryOptions,
  ) {
    this.watches = new WatchCounts(options.limits);
  }

  async unary(
    method: BoundMethod,
    input: CallInput,
    request: Parameters<UnaryHandler>[0],
  ): ReturnType<UnaryHandler> {
    const startMs = performance.now();
    try {
      expectKind(method, "unary");
      const context = this.contextOf(method, input, startMs);
      const response = await (method.handler as UnaryHandler)(request, context);
      this.options.observe?.({ method, input, durationMs: performance.now() - startMs, error: undefined });
      return response;
    } catch (error) {
      throw this.failure(method, input, startMs, error);
    }
  }

  async stream(
    method: BoundMethod,
    input: CallInput,
    request: Parameters<StreamHandler>[0],
  ): ReturnType<StreamHandler> {
    const startMs = performance.now();
    try {
      expectKind(method, "server_streaming");
      const context = this.contextOf(method, input, startMs);
      const release = this.watches.take(context);
      try {
        const stream = await (method.handler as StreamHandler)(request, context);
        return new LimitedStream(stream, release, {
          failed: (error) => this.failure(method, input, startMs, error),
          ended: () =>
            this.options.observe?.({
              method,
              input,
              durationMs: performance.now() - startMs,
              error: undefined,
            }),
        });
      } catch (error) {
        release();
        throw error;
      }
    } catch (error) {
      throw this.failure(method, input, startMs, error);
    }
  }

  private contextOf(method: BoundMethod, input: CallInput, startMs: number): CallContext {
    return new InputContext(input, this.options.authenticate(input, method), startMs, this.options.limits);
  }

  private failure(method: BoundMethod, input: CallInput, startMs: number, error: unknown): unknown {
    const failure = toConnectError(error, (fault) => this.options.onFault(fault, method));
    this.options.observe?.({ method, input, durationMs: performance.now() - startMs, error: failure });
    return failure;
  }
}

/** What a handler sees of its call, over the door's input; the signal stays lazy. */
class InputContext implements CallContext {
  readonly deadlineMs: number;

  constructor(
    private readonly input: CallInput,
    readonly principal: string,
    startMs: number,
    limits: Limits,
  ) {
    const timeoutMs = input.timeoutMs ?? limits.callTimeoutMs;
    this.deadlineMs = startMs + Math.min(timeoutMs, limits.callTimeoutMsMax);
  }

  get door(): CallInput["door"] {
    return this.input.door;
  }
  get signal(): AbortSignal {
    return this.input.signal;
  }
  get connection(): object {
    return this.input.connection;
  }
  header(name: string): string | undefined {
    return this.input.header(name);
  }
}

function expectKind(method: BoundMethod, kind: DescMethod["methodKind"]): void {
  if (method.desc.methodKind !== kind) {
    throw new KvError(
      "unimplemented",
      `${method.desc.name} is a ${method.desc.methodKind.replace("_", "-")} method.`,
    );
  }
}
