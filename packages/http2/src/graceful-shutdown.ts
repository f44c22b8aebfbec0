/**
 * Closes a connection without losing a call (RFC 9113 section 6.8). The first GOAWAY refuses nothing and asks the client to open no more
 * streams. When everything that the client sent before has arrived, which its pong proves, a second GOAWAY ends the connection.
 *
 * A single GOAWAY would refuse streams in flight. Clients may retry those on another connection, but many report them as failed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connection.js";

/**
 * Reading pauses this long before the first GOAWAY, plus a few round trips, so that the GOAWAY does not follow a response at once. Node's
 * client fails requests that it created and has not written yet when it reads a GOAWAY, and a response leads to new requests.
 */
const PAUSE_MS = 50;
const PAUSE_ROUND_TRIPS = 4;
const PAUSE_MS_MAX = 500;
/** Time for the client to answer the ping. */
const ROUND_TRIP_MS_MAX = 5_000;

/** Asks the client to leave, then closes the connection once its streams are closed. Never rejects. */
export async function closeGracefully(connection: Connection): Promise<void> {
  const roundTripMs = await roundTrip(connection);
  if (roundTripMs !== undefined) {
    await pauseReads(connection, Math.min(PAUSE_MS_MAX, PAUSE_MS + PAUSE_ROUND_TRIPS * roundTripMs));
    connection.goAway();
    await roundTrip(connection);
  }
  connection.drain();
}

async function pauseReads(connection: Connection, forMs: number): Promise<void> {
  const { socket } = connection;
  socket.pause();
  await sleep(forMs);
  socket.resume();
}

/** Waits until everything that the client has sent arrived. Returns the round-trip time; undefined if it took too long or the client left. */
async function roundTrip(connection: Connection): Promise<number | undefined> {
  if (connection.isClosed) return undefined;
  return new Promise((resolve) => {
    const startMs = performance.now();
    const before = connection.onPong;
    const finish = (milliseconds?: number): void => {
      clearTimeout(timeout);
      connection.onPong = before;
      connection.socket.off("close", onClose);
      resolve(milliseconds);
    };
    const onClose = (): void => finish();
    const timeout = setTimeout(finish, ROUND_TRIP_MS_MAX);
    connection.socket.once("close", onClose);
    const ours = connection.ping();
    connection.onPong = (ping) => {
      before?.(ping);
      if (ping === ours) finish(performance.now() - startMs);
    };
  });
}
