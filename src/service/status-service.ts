/** The handler of StatusService. */
import { create } from "@bufbuild/protobuf";
import { ScopeSchema } from "../../gen/ironflow/kv/v1/api_key_service_pb.js";
import {
  GetStatusResponseSchema,
  InstanceStatusSchema,
  type InstanceStatus,
  type StatusService,
} from "../../gen/ironflow/kv/v1/status_service_pb.js";
import type { Durability } from "../kv/bucket.js";
import { accessNumber } from "./api-key-service.js";
import type { Handlers } from "./calls.js";
import { durabilityNumber, timestampOf } from "./convert.js";
import type { Health } from "./health.js";
import type { Principal } from "./principal.js";

/** The state of this instance, besides its health. */
export interface InstanceState {
  readonly natsVersion: string;
  readonly natsServer: {
    readonly name: string;
    /** Undefined: it is a single server. */
    readonly cluster: { readonly name: string; readonly serverAddresses: readonly string[] } | undefined;
  };
  readonly isStorageExternal: boolean;
  readonly durability: Durability;
  /** What an operator should know, as sentences. */
  readonly warnings: readonly string[];
  readonly startedAtMs: number;
  readonly connections: number;
  readonly watches: number;
  readonly watchedBuckets: number;
  /** Undefined: the disk is not visible from here. */
  readonly disk: { readonly freeBytes: number; readonly keepBytes: number } | undefined;
}

/** `state` undefined: the instance does not describe itself. */
export function statusHandlers(
  health: Health,
  state: (() => InstanceState) | undefined,
): Handlers<typeof StatusService> {
  return {
    async getStatus(_request, { caller }) {
      const mayKnow = state !== undefined && caller.may("admin", "*");
      return create(GetStatusResponseSchema, {
        caller: { id: caller.id, scopes: scopesOf(caller) },
        ...(mayKnow ? { instance: instanceMessage(state(), await health.isServing()) } : {}),
      });
    },
  };
}

function scopesOf({ scopes }: Principal) {
  return scopes.map(({ accesses, buckets }) =>
    create(ScopeSchema, { accesses: accesses.map(accessNumber), buckets }),
  );
}

function instanceMessage(state: InstanceState, serving: boolean): InstanceStatus {
  const { disk, natsServer } = state;
  const { cluster } = natsServer;
  return create(InstanceStatusSchema, {
    serving,
    natsVersion: state.natsVersion,
    natsServerName: natsServer.name,
    ...(cluster === undefined
      ? {}
      : { natsCluster: { name: cluster.name, serverAddresses: [...cluster.serverAddresses] } }),
    externalStorage: state.isStorageExternal,
    durability: durabilityNumber(state.durability),
    warnings: [...state.warnings],
    startedAt: timestampOf(state.startedAtMs, 0),
    connections: state.connections,
    watches: state.watches,
    watchedBuckets: state.watchedBuckets,
    ...(disk === undefined
      ? {}
      : { diskFreeBytes: BigInt(Math.floor(disk.freeBytes)), diskReserveBytes: BigInt(disk.keepBytes) }),
  });
}
