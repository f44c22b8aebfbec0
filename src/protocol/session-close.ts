/**
 * Ends an HTTP/2 session without losing a call (RFC 9113 section 6.8): first a GOAWAY that refuses nothing and only asks the client to open
 * no more streams; once all that the client had sent before has arrived, which its answer to a ping shows, the GOAWAY that ends the session.
 *
 * A single GOAWAY would refuse the streams that are on their way. Clients may open these again elsewhere, but many report them as failed.
 */
import { writeSync } from "node:fs";
import type { ServerHttp2Session } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

/** GOAWAY, no error, with the highest stream id there is. */
const NOTICE = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
/**
 * How long nothing is read before the notice, beside some of the client's round trips: so it comes alone and not right behind an answer.
 * Node's client refuses its own requests that it has made but not yet written when it reads a GOAWAY, and an answer leads to requests.
 */
const QUIET_MS = 50;
const QUIET_ROUND_TRIPS = 4;
const QUIET_MS_MAX = 500;
/** How often, and how many times, to look whether the notice can be written. */
const RETRY_MS = 5;
const RETRIES_MAX = 20;
/** How long a client may take to answer the ping. */
const ROUND_TRIP_MS_MAX = 5_000;

/** Asks the client to leave, then ends the session when its streams have ended. Never rejects. */
export async function closeGracefully(session: ServerHttp2Session): Promise<void> {
  const handle = handleOf(session);
  const roundTripMs = handle === undefined ? undefined : await roundTrip(session);
  if (handle !== undefined && roundTripMs !== undefined) {
    const quietMs = Math.min(QUIET_MS_MAX, QUIET_MS + QUIET_ROUND_TRIPS * roundTripMs);
    if (await sendNotice(session, handle, quietMs)) await roundTrip(session);
  }
  session.close();
}

/** What Node's handle of a TCP connection has; undocumented, so that each part may be missing. */
interface TcpHandle {
  readonly fd: number;
  readonly writeQueueSize: number;
  readStop(): unknown;
  readStart(): unknown;
}

/** Undefined where there is no way past Node: under TLS, on other systems, in another version. */
function handleOf(session: ServerHttp2Session): TcpHandle | undefined {
  if (session.destroyed || session.encrypted !== false) return undefined;
  const handle = (session.socket as unknown as { readonly _handle?: Partial<TcpHandle> | null })._handle;
  const { fd, writeQueueSize, readStop, readStart } = handle ?? {};
  const isKnown = typeof fd === "number" && fd >= 0 && typeof writeQueueSize === "number";
  return isKnown && readStop !== undefined && readStart !== undefined ? (handle as TcpHandle) : undefined;
}

/**
 * Writes the notice past Node, straight to the connection; false when that can't be. `session.goaway()` can't send it: whatever stream id
 * it is given, the HTTP/2 library then ignores all streams that follow, and clients would wait for them in vain.
 *
 * Node hands whole frames to the connection, so that where none waits to be written, the notice comes between two frames. The first frame
 * of all must be SETTINGS; a client that has answered a ping has seen it.
 */
async function sendNotice(session: ServerHttp2Session, handle: TcpHandle, quietMs: number): Promise<boolean> {
  handle.readStop();
  try {
    await sleep(quietMs);
    for (let retry = 0; isOpen(session) && retry < RETRIES_MAX; retry++) {
      if (writeNotice(session, handle)) return true;
      await sleep(RETRY_MS);
    }
    return false;
  } finally {
    handle.readStart();
  }
}

function writeNotice(session: ServerHttp2Session, { fd, writeQueueSize }: TcpHandle): boolean {
  if (fd < 0 || writeQueueSize !== 0) return false;
  try {
    // The kernel takes so few bytes whole or not at all; after a part of a frame nothing else could follow.
    if (writeSync(fd, NOTICE) !== NOTICE.length) session.destroy();
    return true;
  } catch {
    // Its buffer is full, or the client is gone.
    return false;
  }
}

/**
 * Waits until all that the client has sent so far has arrived; gives the milliseconds that it took to answer. Undefined: it took too long,
 * or is gone.
 */
async function roundTrip(session: ServerHttp2Session): Promise<number | undefined> {
  if (!isOpen(session)) return undefined;
  return new Promise((resolve) => {
    const finish = (milliseconds?: number): void => {
      clearTimeout(tooLate);
      resolve(milliseconds);
    };
    const tooLate = setTimeout(finish, ROUND_TRIP_MS_MAX);
    session.once("close", () => finish());
    session.ping((error, milliseconds) => finish(error === null ? milliseconds : undefined));
  });
}

function isOpen(session: ServerHttp2Session): boolean {
  return !session.closed && !session.destroyed;
}
