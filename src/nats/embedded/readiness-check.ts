/** Checks that a started nats-server is ready and uses the required configuration. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import type { EmbeddedCredentials } from "./server-config.js";
import { isSupported, OLDEST_SERVER_VERSION } from "../client/server-version.js";
import { StartError } from "../client/start-error.js";
import { connect } from "../client/transport.js";

export interface Readiness {
  readonly serverVersion: string;
}

const POLL_MS = 5;
const DIAL_TIMEOUT_MS = 2_000;
const REQUEST_TIMEOUT_MS = 2_000;

/**
 * Resolves when JetStream responds. The server opens its port only after it has read its files, which can take long with much data.
 * Throws StartError if the server does not use the required configuration, and the signal's reason if it aborts.
 */
export async function untilReady(
  port: number,
  credentials: EmbeddedCredentials,
  mustSyncAlways: boolean,
  signal: AbortSignal,
): Promise<Readiness> {
  for (;;) {
    signal.throwIfAborted();
    const isOpen = await acceptsConnections(port);
    const readiness = isOpen ? await tryOnce(port, credentials, mustSyncAlways) : undefined;
    if (readiness !== undefined) return readiness;
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Costs much less than an attempt of the NATS client. */
async function acceptsConnections(port: number): Promise<boolean> {
  const socket = connectTcp({ port, host: "127.0.0.1" });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function tryOnce(
  port: number,
  credentials: EmbeddedCredentials,
  mustSyncAlways: boolean,
): Promise<Readiness | undefined> {
  const { user, pass, systemUser, systemPass } = credentials;
  const account = await request(port, user, pass, "$JS.API.INFO");
  if (account === undefined || account.answer.error !== undefined) return undefined;
  const { serverVersion } = account;
  if (!isSupported(serverVersion)) {
    throw new StartError(
      `The embedded nats-server is version ${serverVersion}; it must be ${OLDEST_SERVER_VERSION} or newer.`,
    );
  }
  const system = await request(port, systemUser, systemPass, "$SYS.REQ.SERVER.PING.JSZ");
  if (system === undefined) return undefined;
  if (mustSyncAlways && system.answer.data?.config?.sync_always !== true) {
    throw new StartError(
      "The embedded nats-server does not sync each write to disk, which DURABILITY=safe requires; use another nats-server program.",
    );
  }
  return { serverVersion };
}

/** The fields that are read of JetStream's account info and the server's JetStream report. */
interface Answer {
  readonly error?: unknown;
  readonly data?: { readonly config?: { readonly sync_always?: boolean } };
}

/** Sends a request over a new connection. Undefined if there is no reply yet, or another program listens on the port. */
async function request(
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
