/** What `serve` prints on a terminal once it is ready. */
import { resolve } from "node:path";
import type { Config } from "./config/config.js";

export interface ReadyState {
  /** Such as http://127.0.0.1:9123. */
  readonly url: string;
  /** Whether calls need no API key. */
  readonly isOpen: boolean;
}

export function readyMessage({ url, isOpen }: ReadyState, config: Config): string {
  const rows: readonly (readonly [string, string])[] = [
    ["Service", url],
    ["Console", `${url}/`],
    ["Docs", `${url}/docs`],
    [
      "Data",
      config.natsUrl === undefined ? resolve(config.dataDir) : `the NATS server at ${hostOf(config.natsUrl)}`,
    ],
    ["Access", isOpen ? "open: no API key is needed" : "locked: calls need an API key"],
    ["Stop", "Ctrl-C"],
  ];
  return `\n${rows.map(([name, value]) => `  ${name.padEnd(9)}${value}\n`).join("")}\n`;
}

/** NATS_URL without the credentials that it may hold. */
function hostOf(natsUrl: string): string {
  return natsUrl
    .split(",")
    .map((url) => url.trim().replace(/^(\w+:\/\/)?.*@/, "$1"))
    .join(", ");
}
