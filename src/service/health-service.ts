/**
 * grpc.health.v1.Health: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 *
 * All services share one state, because they use the same storage. The empty name means the server as a whole.
 */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type Health as HealthService,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
} from "../../gen/grpc/health/v1/health_pb.js";
import type { Handlers } from "./calls.js";
import type { Health } from "./health.js";

/** The handlers; `services` are the names that have a state. */
export function healthHandlers(
  health: Health,
  services: ReadonlySet<string>,
): Handlers<typeof HealthService> {
  const isKnown = (service: string): boolean => service === "" || services.has(service);
  return {
    async check({ service }) {
      // The protocol fixes this code, so it is not in the table of errors.ts.
      if (!isKnown(service)) throw new ConnectError("There is no service with this name.", Code.NotFound);
      return answer(statusOf(await health.isServing()));
    },

    async list() {
      const status = answer(statusOf(await health.isServing()));
      const names = ["", ...services];
      return create(HealthListResponseSchema, {
        statuses: Object.fromEntries(names.map((name) => [name, status])),
      });
    },

    watch({ service }, { signal }) {
      const states = health.watch();
      const end = (): void => void states.return();
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
      // The set of services is fixed, but the protocol requires the stream to stay open for an unknown one.
      const toStatus = isKnown(service) ? statusOf : () => Status.SERVICE_UNKNOWN;
      return Promise.resolve(new StatusStream(states, toStatus));
    },
  };
}

/** Converts states to messages; emits each change once. */
class StatusStream implements AsyncIterableIterator<HealthCheckResponse> {
  private emitted: Status | undefined;

  constructor(
    private readonly states: AsyncIterableIterator<boolean>,
    private readonly toStatus: (isServing: boolean) => Status,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<HealthCheckResponse>> {
    for (;;) {
      const result = await this.states.next();
      if (result.done === true) return result;
      const status = this.toStatus(result.value);
      if (status === this.emitted) continue;
      this.emitted = status;
      return { done: false, value: answer(status) };
    }
  }

  async return(): Promise<IteratorResult<HealthCheckResponse>> {
    await this.states.return?.();
    return { done: true, value: undefined };
  }
}

function statusOf(isServing: boolean): Status {
  return isServing ? Status.SERVING : Status.NOT_SERVING;
}

function answer(status: Status): HealthCheckResponse {
  return create(HealthCheckResponseSchema, { status });
}
