/**
 * The permission that each method requires, for every protocol. A method without an entry does not compile.
 *
 * Checks run before the handler, so callers without access to a bucket can't find out whether it exists.
 */
import type { DescService, MessageShape } from "@bufbuild/protobuf";
import type { Health } from "../../gen/grpc/health/v1/health_pb.js";
import type { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import type { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import type { ApiKeyService } from "../../gen/ironflow/kv/v1/api_key_service_pb.js";
import type { BackupService } from "../../gen/ironflow/kv/v1/backup_service_pb.js";
import type { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import type { ConfigService } from "../../gen/ironflow/kv/v1/config_service_pb.js";
import type { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { StatusService } from "../../gen/ironflow/kv/v1/status_service_pb.js";
import { KvError } from "../kv/errors.js";
import { qualifiedBucketName, quote } from "../kv/names.js";
import { type Access, ANONYMOUS, type Principal } from "./principal.js";

/** Throws `permission_denied` unless the caller may make this request. Bucket names in the request are qualified by the environment. */
export type AccessCheck<Request> = (request: Request, caller: Principal, environment: string) => void;

/** Marks methods that need no key. */
export const PUBLIC = Symbol("public");

/** The check of each method of a service. */
export type AccessRules<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]:
    AccessCheck<MessageShape<Service["method"][Name]["input"]>> | typeof PUBLIC;
};

/** Any authenticated caller. */
export const ANY_KEY: AccessCheck<unknown> = () => undefined;

/** The principal of methods that need no key. */
export const NOBODY: Principal = {
  id: ANONYMOUS,
  scopes: [],
  may: () => false,
  sees: () => false,
  isValid: true,
  onEnded: () => () => undefined,
};

interface OfBucket {
  readonly bucket: string;
}

const mayRead = needs<OfBucket>("read", ({ bucket }) => bucket);
const mayWrite = needs<OfBucket>("write", ({ bucket }) => bucket);
const mayWatch = needs<OfBucket>("watch", ({ bucket }) => bucket);
const mayAdminister = needs<OfBucket>("admin", ({ bucket }) => bucket);

const mayManageKeys: AccessCheck<unknown> = (_, caller) => {
  if (caller.may("admin", "*")) return;
  throw denied("This API key may not manage API keys; it needs the scope admin on *.", undefined);
};

const maySee: AccessCheck<OfBucket> = ({ bucket }, caller) => {
  if (caller.sees(bucket)) return;
  throw denied(`This API key has no scope on the bucket ${quote(bucket)}.`, bucket);
};

export const BUCKET_RULES: AccessRules<typeof BucketService> = {
  createBucket: needs("admin", ({ name }) => name),
  getBucket: maySee,
  // The handler lists only buckets that the caller may see.
  listBuckets: ANY_KEY,
  updateBucket: mayAdminister,
  deleteBucket: mayAdminister,
  compactBucket: mayAdminister,
  // The handler lists only environments with buckets that the caller may see.
  listEnvironments: ANY_KEY,
};

export const KEY_VALUE_RULES: AccessRules<typeof KeyValueService> = {
  get: mayRead,
  put: mayWrite,
  delete: mayWrite,
  listKeys: mayRead,
  getHistory: mayRead,
  watch: mayWatch,
  touch: mayWrite,
  // A conflict tells what a key's revision is, as with Put.
  commit: mayWrite,
  batchGet: mayRead,
  scan: mayRead,
  // Its answer has counts, no keys.
  deleteKeys: mayWrite,
};

export const BACKUP_RULES: AccessRules<typeof BackupService> = {
  importEntries: mayWrite,
};

export const API_KEY_RULES: AccessRules<typeof ApiKeyService> = {
  createApiKey: mayManageKeys,
  getApiKey: mayManageKeys,
  listApiKeys: mayManageKeys,
  revokeApiKey: mayManageKeys,
  rotateApiKey: mayManageKeys,
  createWatchTicket: mayWatch,
};

/** The configs of an environment, as API keys name them: no user's bucket can have this name. */
const CONFIGS = "SYS_config";

export const CONFIG_RULES: AccessRules<typeof ConfigService> = {
  setConfig: needsOnConfigs("write"),
  getConfig: needsOnConfigs("read"),
  patchConfig: needsOnConfigs("write"),
  deleteConfig: needsOnConfigs("write"),
  listConfigs: needsOnConfigs("read"),
  watchConfig: needsOnConfigs("watch"),
};

export const STATUS_RULES: AccessRules<typeof StatusService> = {
  // The handler describes the instance only to callers that may know it.
  getStatus: ANY_KEY,
};

/** Probes have no keys; the responses disclose only the health state. */
export const HEALTH_RULES: AccessRules<typeof Health> = {
  check: PUBLIC,
  list: PUBLIC,
  watch: PUBLIC,
};

export const REFLECTION_RULES: AccessRules<typeof ServerReflection | typeof ServerReflectionAlpha> = {
  serverReflectionInfo: ANY_KEY,
};

function needs<Request>(access: Access, bucketOf: (request: Request) => string): AccessCheck<Request> {
  return (request, caller) => {
    const bucket = bucketOf(request);
    if (caller.may(access, bucket)) return;
    throw denied(
      `This API key may not ${VERB_PHRASE[access]} ${quote(bucket)}; it needs the scope ${access} on it.`,
      bucket,
    );
  };
}

function needsOnConfigs(access: Access): AccessCheck<unknown> {
  return (_, caller, environment) => {
    if (caller.may(access, qualifiedBucketName(CONFIGS, environment))) return;
    const sentence = `This API key may not ${access} the configs; it needs the scope ${access} on ${CONFIGS}.`;
    throw denied(sentence, undefined);
  };
}

const VERB_PHRASE: Readonly<Record<Access, string>> = {
  read: "read the bucket",
  write: "write to the bucket",
  watch: "watch the bucket",
  admin: "create, change or delete the bucket",
};

function denied(sentence: string, bucket: string | undefined): KvError {
  return new KvError("permission_denied", sentence, { bucket });
}
