/**
 * Ends a connection without losing a call (RFC 9113 section 6.8): first a GOAWAY that refuses nothing and only asks the client to open no
 * more streams; once all that the client had sent before has arrived, which its answer to a ping shows, the GOAWAY that ends it.
 *
 * A single GOAWAY would refuse the streams that are on their way. Clients may open these again elsewhere, but many report them as failed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connection.js";

/**
 * How long nothing is read before the notice, beside some of the client's round trips: so it comes alone and not right behind an answer.
 * Node's client refuses its own requests that it has made but not yet written when it reads a GOAWAY, and an answer leads to requests.
 */
const QUIET_MS = 50;
const QUIET_ROUND_TRIPS = 4;
const QUIET_MS_MAX = 500;
/** How long a client may take to answer the ping. */
const ROUND_TRIP_MS_MAX = 5_000;

/** Asks the client to leave, then ends the connection when its streams have ended. Never rejects. */
export async function leaveGently(connection: Connection): Promise<void> {
  const roundTripMs = await roundTrip(connection);
  if (roundTripMs !== undefined) {
    await beQuiet(connection, Math.min(QUIET_MS_MAX, QUIET_MS + QUIET_ROUND_TRIPS * roundTripMs));
    connection.goAway();
    await roundTrip(connection);
  }
  connection.leave();
}

async function beQuiet(connection: Connection, forMs: number): Promise<void> {
  const { socket } = connection;
  socket.pause();
  await sleep(forMs);
  socket.resume();
}

/**
 * Waits until all that the client has sent so far has arrived; gives the milliseconds that it took to answer. Undefined: it took too long,
 * or is gone.
 */
async function roundTrip(connection: Connection): Promise<number | undefined> {
  if (connection.isClosed) return undefined;
  return new Promise((resolve) => {
    const startMs = performance.now();
    const before = connection.onPong;
    const finish = (milliseconds?: number): void => {
      clearTimeout(tooLate);
      connection.onPong = before;
      connection.socket.off("close", onClose);
      resolve(milliseconds);
    };
    const onClose = (): void => finish();
    const tooLate = setTimeout(finish, ROUND_TRIP_MS_MAX);
    connection.socket.once("close", onClose);
    const ours = connection.ping();
    connection.onPong = (ping) => {
      before?.(ping);
      if (ping === ours) finish(performance.now() - startMs);
    };
  });
}
