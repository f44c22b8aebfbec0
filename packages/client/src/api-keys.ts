/** The SDK's API-key methods: create, get, list, rotate, revoke. */
import {
  Access as AccessEnum,
  type ApiKey as ApiKeyMessage,
  ApiKeyService,
} from "../../../gen/ironflow/kv/v1/api_key_service_pb.js";
import { CALL_OPTIONS, type CallOptions, type RpcClient } from "./rpc-client.js";
import { dateOf, durationOf, wellFormed } from "./convert.js";
import { KvError } from "./errors.js";
import { checkOptions, type OptionNames } from "./options.js";
import { pagesOf } from "./pages.js";

/** A permission on a bucket; none implies another. `admin` on `*` also manages API keys. */
export type Access = "read" | "write" | "watch" | "admin";

/** Permissions on the buckets that match a pattern. */
export interface ApiKeyScope {
  /** At least one. */
  readonly accesses: readonly Access[];
  /** A bucket name in which `*` matches zero or more characters. */
  readonly buckets: string;
}

export interface CreateApiKeyOptions {
  /** Free text: 1 to 128 bytes of UTF-8 without control characters. Need not be unique. */
  readonly name: string;
  /** What the key allows: 1 to 32 scopes. */
  readonly scopes: readonly ApiKeyScope[];
  /** How long the key is valid, in seconds: at least 1, at most 100 years. 0, the default: forever. */
  readonly expiresInSeconds?: number | undefined;
}

const CREATE_OPTIONS: OptionNames<CreateApiKeyOptions> = { name: true, scopes: true, expiresInSeconds: true };

/** An API key, without its secret. */
export interface ApiKeyInfo {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly ApiKeyScope[];
  readonly createdAt: Date;
  /** Undefined: never. */
  readonly expiresAt: Date | undefined;
  /** Undefined: never. */
  readonly rotatedAt: Date | undefined;
  /** When the previous secret expires. Undefined: no previous secret is valid. */
  readonly previousSecretExpiresAt: Date | undefined;
}

/** A key with its secret, which the service returns only once. */
export interface NewApiKey extends ApiKeyInfo {
  readonly secret: string;
}

/** A single-use ticket for a watch of one bucket: `.../watch?ticket=...`. */
export interface WatchTicket {
  readonly ticket: string;
  readonly expiresAt: Date;
}

const ACCESSES: Readonly<Record<Access, AccessEnum>> = {
  read: AccessEnum.READ,
  write: AccessEnum.WRITE,
  watch: AccessEnum.WATCH,
  admin: AccessEnum.ADMIN,
};
const ACCESS_NAMES = new Map(Object.entries(ACCESSES).map(([name, access]) => [access, name as Access]));

/**
 * Manages API keys. All methods except `createWatchTicket` need a key with admin on `*`.
 *
 * Every method may throw KvInvalidArgumentError, KvUnauthenticatedError and KvPermissionDeniedError (do not retry), and
 * KvUnavailableError (retry later). Reads may throw KvTimeoutError (retry). `create`, `rotate` and `revoke` are not retried after
 * they were sent: they throw KvUnknownOutcomeError if their outcome is unknown. List the keys before you retry.
 */
export class ApiKeys {
  constructor(private readonly rpc: RpcClient) {}

  toJSON(): object {
    return {};
  }

  /**
   * Creates a key. Only this response has its secret. Throws KvPermissionDeniedError if it would allow more than the caller's key, and
   * KvResourceExhaustedError (`storage_exhausted`) at the limit on keys.
   */
  async create(options: CreateApiKeyOptions, callOptions: CallOptions = {}): Promise<NewApiKey> {
    checkOptions(options, CREATE_OPTIONS, "create");
    checkOptions(callOptions, CALL_OPTIONS, "create");
    const response = await this.rpc.unary(
      ApiKeyService.method.createApiKey,
      {
        name: wellFormed(options.name, "name"),
        scopes: options.scopes.map(({ accesses, buckets }) => ({
          accesses: accesses.map((access) => ACCESSES[access]),
          buckets: wellFormed(buckets, "buckets"),
        })),
        expiresIn: durationOf(options.expiresInSeconds ?? 0, "expiresInSeconds", 1_000),
      },
      callOptions,
    );
    return { ...infoOf(response.apiKey), secret: response.secret };
  }

  /** Returns one key. Throws KvNotFoundError if it does not exist or was revoked. */
  async get(id: string, callOptions: CallOptions = {}): Promise<ApiKeyInfo> {
    checkOptions(callOptions, CALL_OPTIONS, "get");
    const request = { id: wellFormed(id, "id") };
    return infoOf((await this.rpc.unary(ApiKeyService.method.getApiKey, request, callOptions)).apiKey);
  }

  /** Lists all keys, ordered by ID, including expired ones. */
  async list(callOptions: CallOptions = {}): Promise<ApiKeyInfo[]> {
    checkOptions(callOptions, CALL_OPTIONS, "list");
    const pages = pagesOf((pageToken) =>
      this.rpc.unary(ApiKeyService.method.listApiKeys, { pageToken }, callOptions),
    );
    const keys: ApiKeyInfo[] = [];
    for await (const page of pages) keys.push(...page.apiKeys.map(infoOf));
    return keys;
  }

  /** Permanently revokes a key and ends its watches. Throws KvNotFoundError. */
  async revoke(id: string, callOptions: CallOptions = {}): Promise<void> {
    checkOptions(callOptions, CALL_OPTIONS, "revoke");
    await this.rpc.unary(ApiKeyService.method.revokeApiKey, { id: wellFormed(id, "id") }, callOptions);
  }

  /**
   * Replaces a key's secret. The previous one stays valid for `overlapSeconds`: at most 30 days; 0, the default: it becomes invalid at
   * once. Throws KvNotFoundError.
   */
  async rotate(
    id: string,
    options: { readonly overlapSeconds?: number | undefined } = {},
    callOptions: CallOptions = {},
  ): Promise<NewApiKey> {
    checkOptions(options, { overlapSeconds: true }, "rotate");
    checkOptions(callOptions, CALL_OPTIONS, "rotate");
    const response = await this.rpc.unary(
      ApiKeyService.method.rotateApiKey,
      {
        id: wellFormed(id, "id"),
        overlap: durationOf(options.overlapSeconds ?? 0, "overlapSeconds", 1_000),
      },
      callOptions,
    );
    return { ...infoOf(response.apiKey), secret: response.secret };
  }

  /**
   * Creates a ticket for one watch over WebSocket or SSE, so a web page can watch a bucket without the API key. Needs `watch` on the
   * bucket. The ticket can be used once, by default within 30 seconds.
   */
  async createWatchTicket(bucket: string, callOptions: CallOptions = {}): Promise<WatchTicket> {
    checkOptions(callOptions, CALL_OPTIONS, "createWatchTicket");
    const request = { bucket: wellFormed(bucket, "The bucket's name") };
    const response = await this.rpc.unary(ApiKeyService.method.createWatchTicket, request, callOptions);
    return { ticket: response.ticket, expiresAt: dateOf(response.expiresAt) };
  }
}

function infoOf(key: ApiKeyMessage | undefined): ApiKeyInfo {
  if (key === undefined) throw new KvError("The response has no API key.", { code: "internal" });
  const optional = (time: ApiKeyMessage["expiresAt"]): Date | undefined =>
    time === undefined ? undefined : dateOf(time);
  return {
    id: key.id,
    name: key.name,
    scopes: key.scopes.map(({ accesses, buckets }) => ({
      // Ignore permissions that a newer service may have added.
      accesses: accesses.flatMap((access) => ACCESS_NAMES.get(access) ?? []),
      buckets,
    })),
    createdAt: dateOf(key.createdAt),
    expiresAt: optional(key.expiresAt),
    rotatedAt: optional(key.rotatedAt),
    previousSecretExpiresAt: optional(key.previousSecretExpiresAt),
  };
}
