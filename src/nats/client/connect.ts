/**
 * Connects to NATS and checks that the server is usable: reachable, accepts the credentials, new enough, JetStream enabled.
 *
 * `link.ts` handles reconnects, and requests that are in flight when the connection is lost.
 */
import { readRegularFile, readRegularFileSync } from "../../kv/regular-file.js";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Authenticator,
  credsAuthenticator,
  errors,
  type NatsConnection,
  type TlsOptions,
} from "@nats-io/transport-node";
import { parseServerUrls, type ServerUrls } from "./server-urls.js";
import { isSupported, OLDEST_SERVER_VERSION } from "./server-version.js";
import { StartError } from "./start-error.js";
import { connect, type TransportOptions } from "./transport.js";

export interface ConnectOptions {
  /** The format of NATS_URL: comma-separated URLs, with or without credentials. */
  readonly servers: string;
  /** `user`, `pass` and `token` take precedence over the credentials in `servers`. */
  readonly user?: string | undefined;
  readonly pass?: string | undefined;
  readonly token?: string | undefined;
  /** A NATS credentials file. It is read again at each reconnect, so it can be replaced. */
  readonly credsFile?: string | undefined;
  /** Default: TLS if the URLs or the server require it, with the system's CA certificates. */
  readonly tls?: TlsOptions | undefined;
  /** The connection's name in NATS monitoring. Default: ironflow-kv. */
  readonly name?: string | undefined;
  /** See `TransportOptions.turnBytesMax`. */
  readonly turnBytesMax?: number | undefined;
  /** How long to retry while NATS can't be reached or JetStream does not respond, in milliseconds. Default: 5,000. */
  readonly readyTimeoutMs?: number | undefined;
}

/** A connection on which JetStream has responded. */
export interface ConnectedNats {
  readonly connection: NatsConnection;
  /** Whether the server is part of a cluster, where a replica that lags may answer a direct get. */
  readonly isClustered: boolean;
  /** The largest message that the server accepts, including headers. */
  readonly maxPayloadBytes: number;
  /** Such as `2.15.1`. */
  readonly serverVersion: string;
}

/**
 * A peer counts as dead if two pings are unanswered when the third is due, after 4 to 6 seconds. (A closed connection is noticed at
 * once.) A much shorter time would fail on a slow disk: a server answers a ping only after it has synced the writes before it.
 */
const PING_INTERVAL_MS = 2_000;
const UNANSWERED_PINGS_MAX = 2;
/** The timeout for connecting to one server, before the next one in the list is tried. */
const DIAL_TIMEOUT_MS = 3_000;
const READY_TIMEOUT_MS = 5_000;
const RETRY_WAIT_MS = 100;
/** JetStream's error code for an account without JetStream. */
const NOT_ENABLED_FOR_ACCOUNT = 10_039;

/** Connects. Resolves when JetStream responds. The connection reconnects automatically until it is closed. Throws StartError. */
export async function connectNats(options: ConnectOptions): Promise<ConnectedNats> {
  const urls = parseServerUrls(options.servers);
  const where = urls.servers.join(", ");
  const connectionOptions = await connectionOptionsOf(options, urls);
  const deadlineMs = performance.now() + (options.readyTimeoutMs ?? READY_TIMEOUT_MS);
  const connection = await dial(connectionOptions, where, deadlineMs);
  try {
    // The client removed servers that did not answer; they may be back when this one fails.
    connection.setServers([...urls.servers]);
    const version = connection.info?.version ?? "";
    if (!isSupported(version)) {
      throw new StartError(
        `The NATS server at ${where} is version ${version}; it must be ${OLDEST_SERVER_VERSION} or newer.`,
      );
    }
    await untilJetStreamResponds(connection, where, deadlineMs);
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

async function connectionOptionsOf(options: ConnectOptions, urls: ServerUrls): Promise<TransportOptions> {
  const user = options.user ?? urls.user;
  const pass = options.pass ?? urls.pass;
  const token = options.token ?? urls.token;
  const tls = options.tls ?? (urls.tls ? {} : undefined);
  return {
    servers: [...urls.servers],
    name: options.name ?? "ironflow-kv",
    turnBytesMax: options.turnBytesMax,
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
    // Never give up: by default the client closes after 10 attempts, or after two consecutive authentication errors.
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    // A stack trace costs more than the request.
    noAsyncTraces: true,
  };
}

/** Reads the file at each connect. If that fails, for example while it is being replaced, uses the previous content. */
async function credsFileAuthenticator(file: string): Promise<Authenticator> {
  const load = (bytes: Uint8Array): Authenticator => {
    const authenticator = credsAuthenticator(bytes);
    authenticator("");
    return authenticator;
  };
  let current: Authenticator;
  try {
    current = load(await readRegularFile(file));
  } catch (error) {
    throw new StartError(
      `NATS_CREDS is ${JSON.stringify(file)}, which is not a readable NATS credentials file.`,
      error,
    );
  }
  return (nonce) => {
    try {
      current = load(readRegularFileSync(file));
    } catch {
      // An error thrown here would close the connection permanently.
    }
    return current(nonce);
  };
}

async function dial(options: TransportOptions, where: string, deadlineMs: number): Promise<NatsConnection> {
  for (;;) {
    try {
      return await connect(options);
    } catch (error) {
      if (
        error instanceof errors.AuthorizationError ||
        error instanceof errors.UserAuthenticationExpiredError
      ) {
        throw new StartError(
          `NATS at ${where} rejects the credentials; check NATS_URL and NATS_CREDS.`,
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

/** Retries until the deadline: a cluster does not respond before it has elected a leader. */
async function untilJetStreamResponds(
  connection: NatsConnection,
  where: string,
  deadlineMs: number,
): Promise<void> {
  for (;;) {
    const problem = await checkJetStream(connection);
    if (problem === undefined) return;
    const isFinal = problem.isFinal || performance.now() + RETRY_WAIT_MS >= deadlineMs;
    if (isFinal) throw new StartError(`NATS at ${where} ${problem.sentence}`, problem.cause);
    await delay(RETRY_WAIT_MS);
  }
}

interface Problem {
  /** The end of a sentence that begins with "NATS at <servers>". */
  readonly sentence: string;
  /** Whether a retry can't help. */
  readonly isFinal: boolean;
  readonly cause?: unknown;
}

async function checkJetStream(connection: NatsConnection): Promise<Problem | undefined> {
  try {
    const message = await connection.request("$JS.API.INFO", undefined, { timeout: 1_000 });
    const answer = message.json<{ error?: { err_code?: number; description?: string } }>();
    if (answer.error === undefined) return undefined;
    return {
      sentence: `does not allow this account to use JetStream: ${answer.error.description ?? "no reason given"}.`,
      isFinal: answer.error.err_code === NOT_ENABLED_FOR_ACCOUNT,
    };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    if (cause instanceof errors.PermissionViolationError) {
      return {
        sentence: "does not allow this user to use JetStream; allow it to publish to $JS.API.>.",
        isFinal: true,
        cause,
      };
    }
    if (cause instanceof errors.NoRespondersError) {
      const isDisabled = connection.info?.cluster === undefined && connection.info?.jetstream !== true;
      return isDisabled
        ? { sentence: "has JetStream disabled; enable it.", isFinal: true, cause }
        : { sentence: "has JetStream disabled, or has not elected a leader yet.", isFinal: false, cause };
    }
    return { sentence: `does not respond to JetStream requests: ${reasonOf(error)}.`, isFinal: false, cause };
  }
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : "";
  return text === "" ? "the connection was closed" : text.replace(/\.$/, "").replaceAll(/\s+/g, " ");
}
