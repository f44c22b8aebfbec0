/** The SDK's config methods: set, get, patch, delete, list, watch. */
import {
  ConfigService,
  type GetConfigResponse,
  type WatchConfigResponse,
} from "../../../gen/ironflow/kv/v1/config_service_pb.js";
import type { WriteResult } from "./bucket-options.js";
import { dateOf, type Revision, revisionOf, wellFormed } from "./convert.js";
import { KvError, KvUnavailableError } from "./errors.js";
import { kvErrorOf } from "./failure.js";
import { withJson } from "./json.js";
import { checkOptions, type OptionNames } from "./options.js";
import { pagesOf } from "./pages.js";
import { CALL_OPTIONS, type CallOptions, type RpcClient } from "./rpc-client.js";

/** A JSON object. */
export type ConfigData = Readonly<Record<string, unknown>>;

export interface ConfigInfo {
  readonly name: string;
  readonly revision: bigint;
  readonly updatedAt: Date;
}

export interface Config extends ConfigInfo {
  readonly data: ConfigData;
}

/** A state of a watched config. */
export interface ConfigUpdate extends ConfigInfo {
  /** Undefined: the config was deleted. */
  readonly data: ConfigData | undefined;
}

export interface ConfigWriteOptions extends CallOptions {
  /** Write only if this is the config's revision; otherwise throw KvConflictError. Default: always write. */
  readonly ifRevision?: Revision | undefined;
}

export interface ConfigSetOptions extends ConfigWriteOptions {
  /** Write only if the config does not exist; otherwise throw KvKeyExistsError. Default: false. */
  readonly ifAbsent?: boolean | undefined;
}

export type ConfigWatchOptions = Pick<CallOptions, "signal">;

const WRITE_OPTIONS: OptionNames<ConfigWriteOptions> = { ...CALL_OPTIONS, ifRevision: true };
const SET_OPTIONS: OptionNames<ConfigSetOptions> = { ...WRITE_OPTIONS, ifAbsent: true };
const WATCH_OPTIONS: OptionNames<ConfigWatchOptions> = { signal: true };

/**
 * Configs: named JSON objects of the client's environment, apart from its buckets. Every method may throw KvInvalidArgumentError,
 * KvUnauthenticatedError and KvPermissionDeniedError (do not retry), and KvUnavailableError (retry later). A write whose outcome is unknown
 * throws KvUnknownOutcomeError.
 */
export class Configs {
  constructor(private readonly rpc: RpcClient) {}

  /** Writes a config. Throws KvResourceExhaustedError (`value_too_large`, `storage_exhausted`). */
  async set(name: string, data: ConfigData, options: ConfigSetOptions = {}): Promise<WriteResult> {
    checkOptions(options, SET_OPTIONS, "set");
    const { ifRevision, ifAbsent, ...call } = options;
    if (ifRevision !== undefined && ifAbsent === true)
      throw new TypeError("ifRevision and ifAbsent are both set; set one of them.");
    const revision = ifRevision === undefined ? 0n : revisionOf(ifRevision, "ifRevision");
    const condition =
      ifAbsent === true
        ? ({ case: "ifAbsent", value: true } as const)
        : ({ case: "ifRevision", value: revision } as const);
    const request = {
      ...{ name: nameOf(name), data: JSON.stringify(data) },
      ...(ifRevision === undefined && ifAbsent !== true ? {} : { condition }),
    };
    const response = await this.rpc.unary(ConfigService.method.setConfig, request, call);
    return withJson({ revision: response.revision });
  }

  /** Throws KvNotFoundError (`key_not_found`). */
  async get(name: string, options: CallOptions = {}): Promise<Config> {
    checkOptions(options, CALL_OPTIONS, "get");
    const response = await this.rpc.unary(ConfigService.method.getConfig, { name: nameOf(name) }, options);
    return withJson({ ...infoOf(response), data: parse(response.data) });
  }

  /**
   * Replaces some members of a config, and keeps the others: a shallow merge. No other write that comes in between is lost. Throws
   * KvNotFoundError (`key_not_found`).
   */
  async patch(name: string, members: ConfigData, options: ConfigWriteOptions = {}): Promise<WriteResult> {
    checkOptions(options, WRITE_OPTIONS, "patch");
    const { ifRevision, ...call } = options;
    const request = {
      ...{ name: nameOf(name), data: JSON.stringify(members) },
      ifRevision: ifRevision === undefined ? 0n : revisionOf(ifRevision, "ifRevision"),
    };
    const { revision } = await this.rpc.unary(ConfigService.method.patchConfig, request, call);
    return withJson({ revision });
  }

  /** Deletes a config. If it does not exist, that is no error. */
  async delete(name: string, options: ConfigWriteOptions = {}): Promise<void> {
    checkOptions(options, WRITE_OPTIONS, "delete");
    const { ifRevision, ...call } = options;
    const revision = ifRevision === undefined ? 0n : revisionOf(ifRevision, "ifRevision");
    const request = { name: nameOf(name), ifRevision: revision };
    await this.rpc.unary(ConfigService.method.deleteConfig, request, call);
  }

  /** Lists the configs, without their data, sorted by name. The time limit applies to each page. */
  async list(options: CallOptions = {}): Promise<ConfigInfo[]> {
    checkOptions(options, CALL_OPTIONS, "list");
    const configs: ConfigInfo[] = [];
    const pages = pagesOf((pageToken) =>
      this.rpc.unary(ConfigService.method.listConfigs, { pageToken }, options),
    );
    for await (const page of pages) for (const config of page.configs) configs.push(withJson(infoOf(config)));
    return configs;
  }

  /**
   * Streams the states of a config: the present one, if it exists, then each change. Has no time limit; leaving the loop, or the signal,
   * ends it. The loop throws KvUnavailableError if the connection breaks: watch again.
   */
  async *watch(name: string, options: ConfigWatchOptions = {}): AsyncGenerator<ConfigUpdate, undefined> {
    checkOptions(options, WATCH_OPTIONS, "watch");
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    options.signal?.throwIfAborted();
    options.signal?.addEventListener("abort", abort);
    try {
      const request = { name: nameOf(name) };
      const states = await this.rpc.stream(ConfigService.method.watchConfig, request, controller.signal);
      for await (const state of states)
        yield withJson({ ...infoOf(state), data: state.data === "" ? undefined : parse(state.data) });
    } catch (error) {
      if (options.signal?.aborted === true) return undefined;
      throw error instanceof KvError
        ? error
        : kvErrorOf(error, { isIdempotent: true, bucket: undefined, key: undefined });
    } finally {
      options.signal?.removeEventListener("abort", abort);
      controller.abort();
    }
    throw new KvUnavailableError("The watch broke off.", { code: "unavailable" });
  }
}

type Listed = Pick<GetConfigResponse | WatchConfigResponse, "name" | "revision" | "updatedAt">;

function infoOf({ name, revision, updatedAt }: Listed): ConfigInfo {
  return { name, revision, updatedAt: dateOf(updatedAt) };
}

function parse(data: string): ConfigData {
  return JSON.parse(data) as ConfigData;
}

function nameOf(name: string): string {
  return wellFormed(name, "The config's name");
}
