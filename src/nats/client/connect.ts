/**
 * Connects to NATS, and finds out whether what is there will do: reachable, our credentials taken, new enough, JetStream answering.
 *
 * Losing and regaining the connection, and requests that are under way meanwhile, are the business of `link.ts`.
 */
import { readFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Authenticator,
  connect,
  type ConnectionOptions,
  credsAuthenticator,
  errors,
  type NatsConnection,
  type TlsOptions,
} from "@nats-io/transport-node";
import { parseServerUrls, type ServerUrls } from "./server-urls.js";
import { isSupported, OLDEST_SERVER_VERSION } from "./server-version.js";
import { StartError } from "./start-error.js";

export interface ConnectOptions {
  /** As NATS_URL has it: comma-separated URLs, with or without credentials. */
  readonly servers: string;
  /** Win over what stands in `servers`. */
  readonly user?: string | undefined;
  readonly pass?: string | undefined;
  readonly token?: string | undefined;
  /** A NATS credentials file; read again at each reconnect, so that it can be renewed. */
  readonly credsFile?: string | undefined;
  /** Default: TLS as the URLs or the server ask, with the system's certificates. */
  readonly tls?: TlsOptions | undefined;
  /** Shown in NATS's own lists of connections. Default: ironflow-kv. */
  readonly name?: string | undefined;
  /** Milliseconds to keep trying while NATS can't be reached or JetStream does not answer yet. Default: 5,000. */
  readonly readyTimeoutMs?: number | undefined;
}

/** A connection on which JetStream answered. */
export interface ConnectedNats {
  readonly connection: NatsConnection;
  /** Whether the server is part of a cluster: then a direct get may be answered by a replica that lags. */
  readonly isClustered: boolean;
  /** The largest message that the server takes, headers included. */
  readonly maxPayloadBytes: number;
  /** Such as `2.15.1`. */
  readonly serverVersion: string;
}

/** Milliseconds between reconnect attempts, plus as much jitter: calls work again within 0.2 s after NATS is back. */
const RECONNECT_WAIT_MS = 100;
const RECONNECT_JITTER_MS = 100;
/**
 * A peer that leaves two pings unanswered is taken for dead when the third is due: 4 to 6 seconds. (One that ends is noticed at once.)
 * Much shorter would be wrong on a slow disk: a server answers a ping only when it has synced the writes sent before it.
 */
const PING_INTERVAL_MS = 2_000;
const UNANSWERED_PINGS_MAX = 2;
/** Milliseconds for one server to take a connection, before the next of the list is tried. */
const DIAL_TIMEOUT_MS = 3_000;
const READY_TIMEOUT_MS = 5_000;
const RETRY_WAIT_MS = 100;
/** JetStream's error code for an account that may not use it. */
const NOT_ENABLED_FOR_ACCOUNT = 10_039;

/**
 * Connects for good: the connection reconnects by itself for until it is closed. Resolves when JetStream answers.
 * Throws StartError.
 */
export async function connectNats(options: ConnectOptions): Promise<ConnectedNats> {
  const urls = parseServerUrls(options.servers);
  const where = urls.servers.join(", ");
  const connectionOptions = await connectionOptionsOf(options, urls);
  const deadlineMs = performance.now() + (options.readyTimeoutMs ?? READY_TIMEOUT_MS);
  const connection = await dial(connectionOptions, where, deadlineMs);
  try {
    // A server that did not answer the first time was struck off the list; it may be back when this one is lost.
    connection.setServers([...urls.servers]);
    const version = connection.info?.version ?? "";
    if (!isSupported(version)) {
      throw new StartError(
        `The NATS server at ${where} is ${version}; ${OLDEST_SERVER_VERSION} or newer is needed.`,
      );
    }
    await untilJetStreamAnswers(connection, where, deadlineMs);
    return {
      connection,
      isClustered: connection.info?.cluster !== undefined,
      maxPayloadBytes: connection.info?.max_payload ?? 0,
      serverVersion: version,
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function connectionOptionsOf(options: ConnectOptions, urls: ServerUrls): Promise<ConnectionOptions> {
  const user = options.user ?? urls.user;
  const pass = options.pass ?? urls.pass;
  const token = options.token ?? urls.token;
  const tls = options.tls ?? (urls.tls ? {} : undefined);
  return {
    servers: [...urls.servers],
    name: options.name ?? "ironflow-kv",
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(token === undefined ? {} : { token }),
    ...(tls === undefined ? {} : { tls }),
    ...(options.credsFile === undefined
      ? {}
      : { authenticator: await credsFileAuthenticator(options.credsFile) }),
    timeout: DIAL_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: UNANSWERED_PINGS_MAX,
    // Never give up: by default the client closes for good after 10 tries, or after two refused logins in a row.
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    // Stack traces for every request cost more than the requests.
    noAsyncTraces: true,
  };
}

/** Reads the file at each connect; while it can't be read (it is being replaced), what it said last is used. */
async function credsFileAuthenticator(file: string): Promise<Authenticator> {
  const load = (bytes: Uint8Array): Authenticator => {
    const authenticator = credsAuthenticator(bytes);
    authenticator("");
    return authenticator;
  };
  let current: Authenticator;
  try {
    current = load(await readFile(file));
  } catch (error) {
    throw new StartError(
      `NATS_CREDS is ${JSON.stringify(file)}, which is not a readable NATS credentials file.`,
      error,
    );
  }
  return (nonce) => {
    try {
      current = load(readFileSync(file));
    } catch {
      // An error thrown here would close the connection for good.
    }
    return current(nonce);
  };
}

async function dial(options: ConnectionOptions, where: string, deadlineMs: number): Promise<NatsConnection> {
  for (;;) {
    try {
      return await connect(options);
    } catch (error) {
      if (
        error instanceof errors.AuthorizationError ||
        error instanceof errors.UserAuthenticationExpiredError
      ) {
        throw new StartError(
          `NATS at ${where} refuses the credentials; check NATS_URL and NATS_CREDS.`,
          error,
        );
      }
      if (performance.now() + RETRY_WAIT_MS >= deadlineMs) {
        throw new StartError(`NATS at ${where} can't be reached: ${reasonOf(error)}.`, error);
      }
    }
    await delay(RETRY_WAIT_MS);
  }
}

/** A cluster answers only once it has elected a leader, so silence is borne until the deadline. */
async function untilJetStreamAnswers(
  connection: NatsConnection,
  where: string,
  deadlineMs: number,
): Promise<void> {
  for (;;) {
    const problem = await askJetStream(connection);
    if (problem === undefined) return;
    const isFinal = problem.isFinal || performance.now() + RETRY_WAIT_MS >= deadlineMs;
    if (isFinal) throw new StartError(`NATS at ${where} ${problem.sentence}`, problem.cause);
    await delay(RETRY_WAIT_MS);
  }
}

interface Problem {
  /** The rest of a sentence that begins with where NATS is. */
  readonly sentence: string;
  /** Waiting won't help. */
  readonly isFinal: boolean;
  readonly cause?: unknown;
}

async function askJetStream(connection: NatsConnection): Promise<Problem | undefined> {
  try {
    const message = await connection.request("$JS.API.INFO", undefined, { timeout: 1_000 });
    const answer = message.json<{ error?: { err_code?: number; description?: string } }>();
    if (answer.error === undefined) return undefined;
    return {
      sentence: `does not let us use JetStream: ${answer.error.description ?? "no reason given"}.`,
      isFinal: answer.error.err_code === NOT_ENABLED_FOR_ACCOUNT,
    };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    if (cause instanceof errors.PermissionViolationError) {
      return { sentence: "does not permit this user to use JetStream ($JS.API.>).", isFinal: true, cause };
    }
    if (cause instanceof errors.NoRespondersError) {
      const isAlone = connection.info?.cluster === undefined && connection.info?.jetstream !== true;
      return isAlone
        ? { sentence: "has JetStream turned off; turn it on.", isFinal: true, cause }
        : { sentence: "has JetStream turned off, or no leader for it yet.", isFinal: false, cause };
    }
    return { sentence: `does not answer JetStream requests: ${reasonOf(error)}.`, isFinal: false, cause };
  }
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : "";
  return text === "" ? "the connection was closed" : text.replace(/\.$/, "").replaceAll(/\s+/g, " ");
}
