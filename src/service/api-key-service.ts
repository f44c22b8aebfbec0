/** The handlers of ApiKeyService. Each checks the request, calls `ApiKeys` and converts the result. */
import { create } from "@bufbuild/protobuf";
import {
  Access as AccessEnum,
  type ApiKey,
  ApiKeySchema,
  type ApiKeyService,
  CreateApiKeyResponseSchema,
  CreateWatchTicketResponseSchema,
  GetApiKeyResponseSchema,
  ListApiKeysResponseSchema,
  RevokeApiKeyResponseSchema,
  RotateApiKeyResponseSchema,
  type Scope as ScopeMessage,
  ScopeSchema,
} from "../../gen/ironflow/kv/v1/api_key_service_pb.js";
import { invalidArgument } from "../kv/errors.js";
import type { Access, ApiKeyInfo, ApiKeys, Scope } from "./principal.js";
import type { Handlers } from "./calls.js";
import { millisecondsOf, timestampOf } from "./convert.js";

export function apiKeyHandlers(keys: ApiKeys): Handlers<typeof ApiKeyService> {
  return {
    async createApiKey(request, context) {
      const spec = {
        name: request.name,
        scopes: request.scopes.map(scopeOf),
        lifetimeMs: millisecondsOf(request.expiresIn, "expires_in") ?? 0,
      };
      const { key, secret } = await keys.create(spec, context.caller, context);
      return create(CreateApiKeyResponseSchema, { apiKey: apiKeyMessage(key), secret });
    },

    getApiKey({ id }) {
      return Promise.resolve(create(GetApiKeyResponseSchema, { apiKey: apiKeyMessage(keys.get(id)) }));
    },

    listApiKeys({ limit, pageToken }) {
      const { items, nextPageToken } = keys.list({ limit, pageToken });
      return Promise.resolve(
        create(ListApiKeysResponseSchema, { apiKeys: items.map(apiKeyMessage), nextPageToken }),
      );
    },

    async revokeApiKey({ id }, context) {
      await keys.revoke(id, context);
      return create(RevokeApiKeyResponseSchema);
    },

    async rotateApiKey({ id, overlap }, context) {
      const overlapMs = millisecondsOf(overlap, "overlap") ?? 0;
      const { key, secret } = await keys.rotate(id, overlapMs, context.caller, context);
      return create(RotateApiKeyResponseSchema, { apiKey: apiKeyMessage(key), secret });
    },

    async createWatchTicket({ bucket }, context) {
      const { ticket, expiresAtMs } = await keys.createTicket(bucket, context.caller, context);
      return create(CreateWatchTicketResponseSchema, { ticket, expiresAt: timestampOf(expiresAtMs, 0) });
    },
  };
}

const ENUM_BY_ACCESS: Readonly<Record<Access, AccessEnum>> = {
  read: AccessEnum.READ,
  write: AccessEnum.WRITE,
  watch: AccessEnum.WATCH,
  admin: AccessEnum.ADMIN,
};
const ACCESS_BY_ENUM = new Map(
  Object.entries(ENUM_BY_ACCESS).map(([access, number]) => [number, access as Access]),
);

/** The number of the access in the contract. */
export function accessNumber(access: Access): AccessEnum {
  return ENUM_BY_ACCESS[access];
}

function scopeOf({ accesses, buckets }: ScopeMessage): Scope {
  return { accesses: accesses.map(accessOf), buckets };
}

function accessOf(number: AccessEnum): Access {
  const access = ACCESS_BY_ENUM.get(number);
  if (access === undefined)
    throw invalidArgument(`An access is ${number as number}; it must be 1 to 4 (see Access).`);
  return access;
}

function apiKeyMessage(key: ApiKeyInfo): ApiKey {
  const message = create(ApiKeySchema, {
    id: key.id,
    name: key.name,
    scopes: key.scopes.map(({ accesses, buckets }) =>
      create(ScopeSchema, { accesses: accesses.map((access) => ENUM_BY_ACCESS[access]), buckets }),
    ),
    createdAt: timestampOf(key.createdAtMs, 0),
  });
  if (key.expiresAtMs !== undefined) message.expiresAt = timestampOf(key.expiresAtMs, 0);
  if (key.rotatedAtMs !== undefined) message.rotatedAt = timestampOf(key.rotatedAtMs, 0);
  if (key.previousExpiresAtMs !== undefined) {
    message.previousSecretExpiresAt = timestampOf(key.previousExpiresAtMs, 0);
  }
  return message;
}
