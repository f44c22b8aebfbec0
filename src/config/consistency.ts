/** Checks settings that must fit each other. */
import { isIP } from "node:net";
import type { Config } from "./config.js";
import { ConfigError } from "./setting.js";

/** Throws ConfigError for settings that contradict each other. */
export function checkConsistency(config: Config): void {
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    throw new ConfigError("Only one of TLS_CERT and TLS_KEY is set; set both or neither.");
  }
  if (config.tlsClientCa !== undefined && config.tlsCert === undefined) {
    throw new ConfigError("TLS_CLIENT_CA is set without TLS; set TLS_CERT and TLS_KEY too.");
  }
  if (config.tlsClientScopes !== undefined && config.tlsClientCa === undefined) {
    throw new ConfigError("TLS_CLIENT_SCOPES is set without TLS_CLIENT_CA; set TLS_CLIENT_CA too.");
  }
  if (config.natsCreds !== undefined && config.natsUrl === undefined) {
    throw new ConfigError("NATS_CREDS is set without NATS_URL; set NATS_URL too.");
  }
  if (config.natsUrl === undefined && config.replicas !== 1) {
    throw new ConfigError(
      `REPLICAS is ${config.replicas} without NATS_URL; set NATS_URL to a NATS cluster, or REPLICAS to 1.`,
    );
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
      `HOST is ${config.host}, which other machines can reach, and no API key is set; set IRONFLOW_API_KEY, or ALLOW_ANONYMOUS=true to allow everyone.`,
    );
  }
}

/** Whether the address is reachable only from this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
