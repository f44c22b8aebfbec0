/** The handlers of ConfigService. Each checks the request, calls the configs of its environment and converts the result. */
import { create } from "@bufbuild/protobuf";
import {
  type ConfigService,
  DeleteConfigResponseSchema,
  GetConfigResponseSchema,
  ListConfigsResponse_ConfigSchema,
  ListConfigsResponseSchema,
  PatchConfigResponseSchema,
  type SetConfigRequest,
  SetConfigResponseSchema,
  type WatchConfigResponse,
  WatchConfigResponseSchema,
} from "../../gen/ironflow/kv/v1/config_service_pb.js";
import { invalidArgument } from "../kv/errors.js";
import { SerialQueue } from "../kv/serial-queue.js";
import type { Limits } from "../kv/limits.js";
import type { Condition } from "../kv/writes.js";
import type { Entry } from "../kv/entry.js";
import type { Watch } from "../kv/watch.js";
import type { Handlers, MessageStream, RequestContext } from "./calls.js";
import { Configs, dataOf, type OpenSystemBucket } from "./configs.js";
import { timestampOf } from "./convert.js";

export function configHandlers(open: OpenSystemBucket, limits: Limits): Handlers<typeof ConfigService> {
  const creations = new SerialQueue();
  const configs = ({ environment }: RequestContext): Configs =>
    new Configs(open, environment, limits, creations);
  return {
    async setConfig(request, context) {
      const { name, data } = request;
      const revision = await configs(context).set(name, data, conditionOf(request), context);
      return create(SetConfigResponseSchema, { name, revision });
    },

    async getConfig({ name }, context) {
      return create(GetConfigResponseSchema, stateOf(await configs(context).get(name, context)));
    },

    async patchConfig({ name, data, ifRevision }, context) {
      const revision = await configs(context).patch(name, data, orUndefined(ifRevision), context);
      return create(PatchConfigResponseSchema, { name, revision });
    },

    async deleteConfig({ name, ifRevision }, context) {
      await configs(context).delete(name, orUndefined(ifRevision), context);
      return create(DeleteConfigResponseSchema);
    },

    async listConfigs({ limit, pageToken }, context) {
      const { items, nextPageToken } = await configs(context).list({ limit, pageToken }, context);
      const listed = items.map(({ key, revision, createdAtMs }) =>
        create(ListConfigsResponse_ConfigSchema, {
          ...{ name: key, revision, updatedAt: timestampOf(createdAtMs, 0) },
        }),
      );
      return create(ListConfigsResponseSchema, { configs: listed, nextPageToken });
    },

    async watchConfig({ name }, context) {
      return new ConfigStream(await configs(context).watch(name, context));
    },
  };
}

/** The states of one config. */
class ConfigStream implements MessageStream<WatchConfigResponse> {
  constructor(private readonly watch: Watch) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchConfigResponse>> {
    for (;;) {
      const result = await this.watch.next();
      if (result.done === true) return result;
      if (result.value.type === "change")
        return { done: false, value: create(WatchConfigResponseSchema, stateOf(result.value.entry)) };
    }
  }

  async return(): Promise<IteratorResult<WatchConfigResponse>> {
    await this.watch.return?.();
    return { done: true, value: undefined };
  }
}

function stateOf(entry: Entry) {
  const { key, revision, createdAtMs, createdAtNanos } = entry;
  const updatedAt = timestampOf(createdAtMs, createdAtNanos);
  return { name: key, data: entry.operation === "put" ? dataOf(entry) : "", revision, updatedAt };
}

function conditionOf({ condition }: SetConfigRequest): Condition {
  if (condition.case === "ifAbsent") {
    if (!condition.value) throw invalidArgument("if_absent is false; it must be true, or absent.");
    return "if_absent";
  }
  if (condition.case === undefined) return "always";
  if (condition.value === 0n) throw invalidArgument("if_revision is 0; it must be a revision of 1 or more.");
  return { ifRevision: condition.value };
}

function orUndefined(revision: bigint): bigint | undefined {
  return revision === 0n ? undefined : revision;
}
