/**
 * Parses settings once from the environment and the flags of `serve` (which take precedence), validates and freezes them.
 *
 * One table defines and documents each setting, which keeps `--help`, docs/settings.md and the code consistent (a test compares them). A
 * malformed setting, an unknown flag or an unknown IRONFLOW_ variable aborts the start with a one-line message.
 */
import { DEFAULT_LIMITS, type Limits } from "../kv/limits.js";
import type { CertificateRule } from "../auth/certificates.js";
import { LIMIT_SETTINGS } from "./limit-settings.js";
import { checkConsistency } from "./consistency.js";
import { SERVICE_SETTINGS } from "./service-settings.js";
import { ConfigError, flagOf, type Setting } from "./setting.js";
import { SettingReader } from "./setting-reader.js";

export { isLoopback } from "./consistency.js";
export { ConfigError } from "./setting.js";

/** The service's configuration. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly batchStagingDir: string | undefined;
  readonly natsUrl: string | undefined;
  readonly natsCreds: string | undefined;
  readonly natsServerBin: string | undefined;
  readonly replicas: number;
  readonly durability: "safe" | "relaxed";
  readonly groupCommit: boolean;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  readonly apiKey: string | undefined;
  readonly allowAnonymous: boolean;
  readonly allowedOrigins: readonly string[] | "*" | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientCa: string | undefined;
  readonly tlsClientAuth: "required" | "optional";
  readonly tlsClientScopes: readonly CertificateRule[] | undefined;
  readonly fastPath: boolean;
  /** Which HTTP/2 server. */
  readonly http2: "own" | "node";
  readonly reflection: boolean;
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  readonly metricsPerBucket: boolean;
  /** Processes on the port. */
  readonly workers: number;
  readonly limits: Limits;
  /** Warnings to log, such as for a renamed setting. */
  readonly warnings: readonly string[];
}

/** Every setting, in the order of the documentation. */
export const ALL_SETTINGS: readonly Setting[] = [
  ...Object.values<Setting>(SERVICE_SETTINGS),
  ...LIMIT_SETTINGS,
];

/** IRONFLOW_ names that are not settings of `serve`: the command line's, and the key, which is both. */
const OTHER_IRONFLOW_NAMES = new Set(["IRONFLOW_API_KEY", "IRONFLOW_SERVER"]);

/**
 * Loads the configuration. `flags` are keyed by flag name (`data-dir`) and take precedence over the environment.
 * Throws ConfigError, with a sentence of one line, for anything malformed, unknown or contradictory.
 */
export function loadConfig(
  environment: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>> = {},
): Config {
  checkFlags(flags);
  const reader = new SettingReader(environment, flags);
  const config: Config = Object.freeze({
    port: reader.read(SERVICE_SETTINGS.port),
    host: reader.read(SERVICE_SETTINGS.host),
    dataDir: reader.read(SERVICE_SETTINGS.dataDir),
    natsUrl: reader.read(SERVICE_SETTINGS.natsUrl),
    natsCreds: reader.read(SERVICE_SETTINGS.natsCreds),
    natsServerBin: reader.read(SERVICE_SETTINGS.natsServerBin),
    replicas: reader.read(SERVICE_SETTINGS.replicas),
    durability: reader.read(SERVICE_SETTINGS.durability),
    groupCommit: reader.read(SERVICE_SETTINGS.groupCommit) === "on",
    batchStagingDir: reader.read(SERVICE_SETTINGS.batchStagingDir),
    logLevel: reader.read(SERVICE_SETTINGS.logLevel),
    apiKey: reader.read(SERVICE_SETTINGS.apiKey),
    allowAnonymous: reader.read(SERVICE_SETTINGS.allowAnonymous),
    allowedOrigins: reader.read(SERVICE_SETTINGS.allowedOrigins),
    tlsCert: reader.read(SERVICE_SETTINGS.tlsCert),
    tlsKey: reader.read(SERVICE_SETTINGS.tlsKey),
    tlsClientCa: reader.read(SERVICE_SETTINGS.tlsClientCa),
    tlsClientAuth: reader.read(SERVICE_SETTINGS.tlsClientAuth),
    tlsClientScopes: reader.read(SERVICE_SETTINGS.tlsClientScopes),
    workers: reader.read(SERVICE_SETTINGS.workers),
    fastPath: reader.read(SERVICE_SETTINGS.fastPath),
    http2: reader.read(SERVICE_SETTINGS.http2),
    reflection: reader.read(SERVICE_SETTINGS.reflection),
    metricsPort: reader.read(SERVICE_SETTINGS.metricsPort),
    metricsHost: reader.read(SERVICE_SETTINGS.metricsHost),
    metricsPerBucket: reader.read(SERVICE_SETTINGS.metricsPerBucket),
    limits: readLimits(reader),
    warnings: Object.freeze(reader.warnings),
  });
  checkEnvironment(environment);
  checkConsistency(config);
  return config;
}

function readLimits(reader: SettingReader): Limits {
  const limits: { -readonly [Field in keyof Limits]: number } = { ...DEFAULT_LIMITS };
  for (const setting of LIMIT_SETTINGS) limits[setting.field] = reader.read(setting);
  return Object.freeze(limits);
}

function checkFlags(flags: Readonly<Record<string, string | undefined>>): void {
  const known = new Set(ALL_SETTINGS.flatMap(flagsOf));
  for (const flag of Object.keys(flags)) {
    if (!known.has(flag))
      throw new ConfigError(`There is no setting --${flag}; see 'ironflow-kv serve --help'.`);
  }
}

function checkEnvironment(environment: Readonly<Record<string, string | undefined>>): void {
  for (const name of Object.keys(environment)) {
    if (name.startsWith("IRONFLOW_") && !OTHER_IRONFLOW_NAMES.has(name))
      throw new ConfigError(`There is no setting ${name}; see 'ironflow-kv serve --help'.`);
  }
}

/** The flags of a setting, including its former name. */
function flagsOf(setting: Setting): string[] {
  const { formerEnv } = setting;
  return formerEnv === undefined
    ? [flagOf(setting)]
    : [flagOf(setting), flagOf({ ...setting, env: formerEnv })];
}
