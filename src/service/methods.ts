/** Binds every method of the contract to its handler and access check. */
import type { DescService } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { ApiKeyService } from "../../gen/ironflow/kv/v1/api_key_service_pb.js";
import { BackupService } from "../../gen/ironflow/kv/v1/backup_service_pb.js";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { ConfigService } from "../../gen/ironflow/kv/v1/config_service_pb.js";
import { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { StatusService } from "../../gen/ironflow/kv/v1/status_service_pb.js";
import type { Limits } from "../kv/limits.js";
import type { Store } from "../kv/store.js";
import {
  type AccessCheck,
  type AccessRules,
  API_KEY_RULES,
  BACKUP_RULES,
  BUCKET_RULES,
  CONFIG_RULES,
  HEALTH_RULES,
  KEY_VALUE_RULES,
  PUBLIC,
  REFLECTION_RULES,
  STATUS_RULES,
} from "./access-rules.js";
import { apiKeyHandlers } from "./api-key-service.js";
import { backupHandlers } from "./backup-service.js";
import { bucketHandlers } from "./bucket-service.js";
import { configHandlers } from "./config-service.js";
import type { OpenSystemBucket } from "./configs.js";
import type { ApiKeys } from "./principal.js";
import type { BoundMethod, Handlers, UnaryHandler } from "./calls.js";
import { Descriptors } from "./descriptors.js";
import type { Health as HealthState } from "./health.js";
import { healthHandlers } from "./health-service.js";
import { keyValueHandlers } from "./key-value-service.js";
import { type InstanceState, statusHandlers } from "./status-service.js";
import { reflectionHandlers } from "./reflection-service.js";

/** The dependencies of the handlers. */
export interface Services {
  readonly store: Store;
  readonly apiKeys: ApiKeys;
  readonly health: HealthState;
  /** Opens the buckets of configs. */
  readonly systemBucket: OpenSystemBucket;
  readonly limits: Limits;
  /** The state of this instance, for GetStatus. Default: GetStatus describes only the caller. */
  readonly instance?: (() => InstanceState) | undefined;
  /** Whether to serve reflection. Default: true. */
  readonly reflection?: boolean | undefined;
}

/** Every method, by path. */
export function bindMethods(services: Services): ReadonlyMap<string, BoundMethod> {
  const { store, apiKeys, health, instance, systemBucket, limits } = services;
  const methods = new Map<string, BoundMethod>();
  bind(methods, BucketService, bucketHandlers(store), BUCKET_RULES);
  bind(methods, KeyValueService, keyValueHandlers(store), KEY_VALUE_RULES);
  bind(methods, ConfigService, configHandlers(systemBucket, limits), CONFIG_RULES);
  bind(methods, BackupService, backupHandlers(store), BACKUP_RULES);
  bind(methods, ApiKeyService, apiKeyHandlers(apiKeys), API_KEY_RULES);
  bind(methods, StatusService, statusHandlers(health, instance), STATUS_RULES);
  bindOperations(methods, services);
  return methods;
}

/** Binds health and reflection, which describe the other services. */
function bindOperations(methods: Map<string, BoundMethod>, { health, reflection = true }: Services): void {
  const services = new Set([...methods.values()].map(({ service }) => service));
  services.add(Health);
  if (reflection) services.add(ServerReflection).add(ServerReflectionAlpha);
  const names = new Set([...services].map(({ typeName }) => typeName));
  bind(methods, Health, healthHandlers(health, names), HEALTH_RULES);
  if (!reflection) return;
  const descriptors = new Descriptors([...services]);
  bind(methods, ServerReflection, reflectionHandlers(ServerReflection, descriptors), REFLECTION_RULES);
  bind(
    methods,
    ServerReflectionAlpha,
    reflectionHandlers(ServerReflectionAlpha, descriptors),
    REFLECTION_RULES,
  );
}

/** Adds every method of a service. A method without a handler or an access rule does not compile. */
function bind<Service extends DescService>(
  methods: Map<string, BoundMethod>,
  service: Service,
  handlers: Handlers<Service>,
  rules: AccessRules<Service>,
): void {
  const handlerByName = handlers as Readonly<Record<string, BoundMethod["handler"]>>;
  const ruleByName = rules as Readonly<Record<string, AccessCheck<unknown> | typeof PUBLIC>>;
  for (const desc of service.methods) {
    const path = `/${service.typeName}/${desc.name}`;
    const handler = handlerByName[desc.localName];
    const rule = ruleByName[desc.localName];
    if (handler === undefined) throw new Error(`${path} has no handler`);
    if (rule === undefined) throw new Error(`${path} has no access rule`);
    const isPublic = rule === PUBLIC;
    methods.set(path, {
      path,
      service,
      desc,
      isPublic,
      handler: isPublic ? handler : checked(rule, handler),
    });
  }
}

/** Wraps a handler with its access check. Handlers of every kind of method have the same parameters: request or stream, and context. */
function checked(check: AccessCheck<unknown>, handler: BoundMethod["handler"]): BoundMethod["handler"] {
  const run = handler as UnaryHandler;
  const checkedRun: UnaryHandler = (request, context) => {
    check(request, context.caller, context.environment);
    return run(request, context);
  };
  return checkedRun;
}
