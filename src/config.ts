/**
 * Parses settings once from the environment and the flags of `serve` (which take precedence), validates and freezes them.
 *
 * One table defines and documents each setting, which keeps `--help`, docs/settings.md and the code consistent (a test compares them). A
 * malformed setting, an unknown flag or an unknown IRONFLOW_ variable aborts the start with a one-line message.
 */
import { isIP } from "node:net";
import { DEFAULT_LIMITS, type Limits } from "./kv/limits.js";
import type { CertificateRule } from "./auth/certificates.js";
import { LIMIT_SETTINGS } from "./config-limits.js";
import { SETTINGS } from "./config-service.js";
import { ConfigError, flagOf, type Setting } from "./config-settings.js";

export { ConfigError } from "./config-settings.js";

/** The service's configuration. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly natsUrl: string | undefined;
  readonly natsCreds: string | undefined;
  readonly natsServerBin: string | undefined;
  readonly replicas: number;
  readonly durability: "safe" | "relaxed";
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
export const ALL_SETTINGS: readonly Setting[] = [...SETTINGS, ...LIMIT_SETTINGS];

/**
 * Loads the configuration. `flags` are keyed by flag name (`data-dir`) and take precedence over the environment.
 * Throws ConfigError, with a sentence of one line, for anything malformed, unknown or contradictory.
 */
export function loadConfig(
  environment: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>> = {},
): Config {
  const known = new Set(ALL_SETTINGS.flatMap(flagsOf));
  for (const flag of Object.keys(flags)) {
    if (!known.has(flag))
      throw new ConfigError(`There is no setting --${flag}; see 'ironflow-kv serve --help'.`);
  }
  const values: Record<string, unknown> = {};
  const limits: Record<string, unknown> = { ...DEFAULT_LIMITS };
  const warnings: string[] = [];
  for (const setting of ALL_SETTINGS) {
    const given =
      flags[flagOf(setting)] ??
      nonEmpty(environment[setting.env]) ??
      formerValue(setting, environment, flags, warnings) ??
      setting.default;
    if (given === undefined) continue;
    const target = setting.limit === true ? limits : values;
    try {
      target[setting.field] = setting.parse(given);
    } catch (error) {
      const shown = setting.secret === true ? "" : ` is ${JSON.stringify(given)};`;
      throw new ConfigError(`${setting.env}${shown} ${error instanceof Error ? error.message : "malformed"}`);
    }
  }
  const config = {
    ...values,
    limits: Object.freeze(limits),
    warnings: Object.freeze(warnings),
  } as unknown as Config;
  checkTogether(config, environment);
  return Object.freeze(config);
}

/** The flags of a setting, including its former name. */
function flagsOf(setting: Setting): string[] {
  const { formerEnv } = setting;
  return formerEnv === undefined
    ? [flagOf(setting)]
    : [flagOf(setting), flagOf({ ...setting, env: formerEnv })];
}

/** The value given under a setting's former name. */
function formerValue(
  setting: Setting,
  environment: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>>,
  warnings: string[],
): string | undefined {
  const { env, formerEnv } = setting;
  if (formerEnv === undefined) return undefined;
  const given = flags[flagOf({ ...setting, env: formerEnv })] ?? nonEmpty(environment[formerEnv]);
  if (given !== undefined)
    warnings.push(`${formerEnv} is now named ${env}: rename it, the next version refuses the old name.`);
  return given;
}

function checkTogether(config: Config, environment: Readonly<Record<string, string | undefined>>): void {
  for (const name of Object.keys(environment)) {
    if (name.startsWith("IRONFLOW_") && !OTHER_IRONFLOW_NAMES.has(name)) {
      throw new ConfigError(`There is no setting ${name}; see 'ironflow-kv serve --help'.`);
    }
  }
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    throw new ConfigError("TLS_CERT and TLS_KEY go together; set both or none.");
  }
  if (config.tlsClientCa !== undefined && config.tlsCert === undefined) {
    throw new ConfigError("TLS_CLIENT_CA is for a port that speaks TLS; set TLS_CERT and TLS_KEY too.");
  }
  if (config.tlsClientScopes !== undefined && config.tlsClientCa === undefined) {
    throw new ConfigError("TLS_CLIENT_SCOPES is about certificates that TLS_CLIENT_CA signs; set that too.");
  }
  if (config.natsCreds !== undefined && config.natsUrl === undefined) {
    throw new ConfigError("NATS_CREDS is for an outside server; set NATS_URL too.");
  }
  if (config.natsUrl === undefined && config.replicas !== 1) {
    throw new ConfigError("REPLICAS needs a NATS cluster; set NATS_URL, or leave it at 1.");
  }
  if (config.replicas % 2 === 0)
    throw new ConfigError(`REPLICAS is ${config.replicas}; it must be 1, 3 or 5.`);
  if (config.limits.messageBytesMax < (config.limits.valueBytesMax * 4) / 3 + 8_192) {
    throw new ConfigError(
      "MESSAGE_BYTES_MAX must be at least a third more than VALUE_BYTES_MAX, and 8192 (JSON carries values in base64).",
    );
  }
  const hasKeys = config.apiKey !== undefined || config.tlsClientScopes !== undefined;
  if (!hasKeys && !config.allowAnonymous && !isLoopback(config.host)) {
    throw new ConfigError(
      `HOST is ${config.host}, which others can reach, and no API key is set; set IRONFLOW_API_KEY, or ALLOW_ANONYMOUS=true to let everyone in.`,
    );
  }
}

/** IRONFLOW_ names that are not settings of `serve`: the command line's and the key, which is one. */
const OTHER_IRONFLOW_NAMES = new Set(["IRONFLOW_API_KEY", "IRONFLOW_SERVER"]);

/** Whether the address is reachable only from this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}
