/** Whether a nats-server that was just started is ready, and runs as it was told to. */
import { setTimeout as delay } from "node:timers/promises";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { EmbeddedCredentials } from "./server-config.js";
import { isSupported, OLDEST_SERVER_VERSION } from "../client/server-version.js";
import { StartError } from "../client/start-error.js";

export interface Readiness {
  readonly serverVersion: string;
}

const POLL_MS = 5;
const DIAL_TIMEOUT_MS = 2_000;
const REQUEST_TIMEOUT_MS = 2_000;

/**
 * Resolves when JetStream answers; the server opens its port only after it has read its files, which may take a while with much data.
 * Throws StartError where the server runs otherwise than it was told to, and what `signal` was aborted with.
 */
export async function untilReady(
  port: number,
  credentials: EmbeddedCredentials,
  mustSyncAlways: boolean,
  signal: AbortSignal,
): Promise<Readiness> {
  for (;;) {
    signal.throwIfAborted();
    const readiness = await tryOnce(port, credentials, mustSyncAlways);
    if (readiness !== undefined) return readiness;
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function tryOnce(
  port: number,
  credentials: EmbeddedCredentials,
  mustSyncAlways: boolean,
): Promise<Readiness | undefined> {
  const { user, pass, systemUser, systemPass } = credentials;
  const account = await ask(port, user, pass, "$JS.API.INFO");
  if (account === undefined || account.answer.error !== undefined) return undefined;
  const { serverVersion } = account;
  if (!isSupported(serverVersion)) {
    throw new StartError(
      `The embedded nats-server is ${serverVersion}; ${OLDEST_SERVER_VERSION} or newer is needed.`,
    );
  }
  const system = await ask(port, systemUser, systemPass, "$SYS.REQ.SERVER.PING.JSZ");
  if (system === undefined) return undefined;
  if (mustSyncAlways && system.answer.data?.config?.sync_always !== true) {
    throw new StartError(
      "The embedded nats-server does not sync each write to disk, as DURABILITY=safe promises; use another nats-server program.",
    );
  }
  return { serverVersion };
}

/** What we read of JetStream's account information, and of the server's own report on its JetStream. */
interface Answer {
  readonly error?: unknown;
  readonly data?: { readonly config?: { readonly sync_always?: boolean } };
}

/** Asks on a connection of its own; undefined when there is no answer yet, or what listens on the port is something else. */
async function ask(
  port: number,
  user: string,
  pass: string,
  subject: string,
): Promise<{ readonly answer: Answer; readonly serverVersion: string } | undefined> {
  let connection: NatsConnection | undefined;
  try {
    connection = await connect({
      servers: `127.0.0.1:${port}`,
      user,
      pass,
      reconnect: false,
      timeout: DIAL_TIMEOUT_MS,
      noAsyncTraces: true,
    });
    const message = await connection.request(subject, undefined, { timeout: REQUEST_TIMEOUT_MS });
    return { answer: message.json<Answer>(), serverVersion: connection.info?.version ?? "" };
  } catch {
    return undefined;
  } finally {
    await connection?.close();
  }
}
