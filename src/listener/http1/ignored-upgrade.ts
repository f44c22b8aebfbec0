/**
 * Ignores an unknown `Upgrade`, as RFC 9110 section 7.8 allows: h2c from Java's HttpClient and from `curl --http2`. Node stops parsing at any
 * upgrade, and has not read the request's body. So the request is parsed again, without the fields of the upgrade.
 */
import type { IncomingMessage } from "node:http";

/** Fields that concern the upgrade only (RFC 9110 section 7.8, RFC 7540 section 3.2.1). */
const UPGRADE_FIELDS: ReadonlySet<string> = new Set(["upgrade", "http2-settings"]);

/** Whether the request asks for an upgrade that this service performs. */
export function isWebSocketUpgrade({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

/** The request's head without the upgrade. */
export function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method ?? ""} ${url ?? ""} HTTP/${httpVersion}`];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = "", value = ""] = rawHeaders.slice(index, index + 2);
    const lowerName = name.toLowerCase();
    if (UPGRADE_FIELDS.has(lowerName)) continue;
    const kept = lowerName === "connection" ? optionsWithoutUpgrade(value) : value;
    if (lowerName !== "connection" || kept !== "") lines.push(`${name}: ${kept}`);
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

function optionsWithoutUpgrade(connection: string): string {
  const options = connection.split(",").map((option) => option.trim());
  return options.filter((option) => !UPGRADE_FIELDS.has(option.toLowerCase())).join(", ");
}
