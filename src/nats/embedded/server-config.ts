/** How our own nats-server is told to run. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { StartError } from "../client/start-error.js";

/** The names and passwords that are good for one service and its server's restarts. */
export interface EmbeddedCredentials {
  readonly user: string;
  readonly pass: string;
  /** For the system account, which tells how the server runs; used for that only. */
  readonly systemUser: string;
  readonly systemPass: string;
}

/** The largest message, headers included; nats-server warns above 8 MB. */
const MAX_PAYLOAD = "8MB";
/** The server closes a connection with more unread bytes than this: well above the byte budgets of our reads. Its default is 64 MiB. */
const MAX_PENDING = "256MB";
/**
 * No limit of its own (1 EiB): the disk guard alone judges whether the disk is full. By default the server takes 75 % of what is free at
 * its start, and refuses everything, deletes too, once the streams hold more than that.
 */
const MAX_FILE_STORE = 2 ** 60;
/**
 * `relaxed` syncs once a second: that bounds what a power failure takes, where the server's own default is two minutes, and costs a
 * few per cent of the writes per second.
 */
const SYNC_INTERVAL = { safe: "always", relaxed: "1s" } as const;
/** The folder in the data directory where the server keeps everything; its own choice. */
export const STORE_FOLDER = "jetstream";
const PASSWORD_BYTES = 24;

export function newCredentials(): EmbeddedCredentials {
  const newPassword = (): string => randomBytes(PASSWORD_BYTES).toString("base64url");
  return {
    user: "ironflow-kv",
    pass: newPassword(),
    systemUser: "ironflow-kv-system",
    systemPass: newPassword(),
  };
}

/**
 * Writes the server's configuration: loopback only, no monitoring port, and the credentials in this file, which only we can read,
 * never on a command line. The server runs in the data directory, so that no path has to be quoted here.
 */
export async function writeConfig(
  file: string,
  port: number,
  credentials: EmbeddedCredentials,
  durability: "safe" | "relaxed",
): Promise<void> {
  const { user, pass, systemUser, systemPass } = credentials;
  const config = `# Written by ironflow-kv at each start; changes are lost.
listen: "127.0.0.1:${port}"
server_name: "ironflow-kv"
max_payload: ${MAX_PAYLOAD}
max_pending: ${MAX_PENDING}
logtime: false
authorization { users: [ { user: "${user}", password: "${pass}" } ] }
accounts { $SYS { users: [ { user: "${systemUser}", password: "${systemPass}" } ] } }
jetstream { store_dir: ".", max_file_store: ${MAX_FILE_STORE}, sync_interval: ${SYNC_INTERVAL[durability]} }
`;
  await rm(file, { force: true });
  await writeFile(file, config, { mode: 0o600, flag: "wx" });
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen({ port: 0, host: "127.0.0.1", exclusive: true });
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string")
    throw new StartError("No TCP port is free on 127.0.0.1.");
  return address.port;
}
