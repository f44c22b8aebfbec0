/** The peak of the resident memory while clients do not read the responses to their requests, in cleartext and over TLS. */
import type { Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INITIAL_WINDOW_SIZE } from "../../packages/http2/test/frames.js";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  type RawSession,
  setting,
  uint32,
} from "../../packages/http2/test/raw-session.js";
import { hasOpenssl } from "../support/certificates.js";
import { IS_EXTENDED, unlessExtended } from "../support/extended.js";
import {
  BUCKETS,
  describePeaks,
  MEBIBYTE,
  OVERHEAD_BYTES,
  PEAK_TIMEOUT_MS,
  PeakMeter,
  requestHead,
  TOTAL_BYTES,
} from "./peaks.js";

/** More than the budgets allow; the attack that was found had 1,000. */
const CLIENTS = 400;
const PIPELINED = 8;
const GETS = 1_000;
const SESSIONS = 20;
const WINDOW_BYTES_MAX = 2 ** 31 - 1;
const DEFAULT_WINDOW_BYTES = 65_535;
const GET = requestHead("GET", `${BUCKETS}/b/keys/k`);

const PORTS = [
  ["in cleartext", false],
  ["over TLS", true],
] as const;

/** Each attack takes seconds of CPU time: `npm test` makes those that differ most. */
const itExtended = it.runIf(IS_EXTENDED);

describePeaks("the peak of the resident memory", () => {
  describe.each(unlessExtended(hasOpenssl ? PORTS : PORTS.slice(0, 1), 1))("%s", (port, isTls) => {
    let meter: PeakMeter;
    afterEach(() => meter.remove());

    async function start(flags: Readonly<Record<string, string>>): Promise<void> {
      meter = await (isTls ? PeakMeter.startTls(flags) : PeakMeter.start(flags));
      await meter.createBucket("b");
      await meter.put("b", "k", Buffer.alloc(MEBIBYTE, "x"));
    }

    describe("with a budget of all connections", () => {
      beforeEach(() => start({ "total-unsent-response-bytes-max": String(TOTAL_BYTES) }));

      it(
        "stays within it for responses that HTTP/1.1 clients do not read",
        async () => {
          const attack = async (): Promise<void> => {
            const sockets: Socket[] = [];
            for (let index = 0; index < CLIENTS; index++) {
              const socket = await meter.openHttp1();
              sockets.push(socket.pause());
              // The kernel takes the first ones.
              socket.write(`GET ${BUCKETS}/b/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(PIPELINED));
              if (index % 20 === 19) await meter.settled(sockets);
            }
            await meter.settled(sockets);
            for (const socket of sockets) socket.destroy();
          };
          expect(await meter.of(attack, `unread responses, HTTP/1.1 ${port}`)).toBeLessThan(
            OVERHEAD_BYTES + TOTAL_BYTES,
          );
        },
        PEAK_TIMEOUT_MS,
      );

      itExtended(
        "stays within it for responses that HTTP/2 clients with large windows do not read",
        async () => {
          const attack = async (): Promise<void> => {
            const sessions: RawSession[] = [];
            for (let index = 0; index < SESSIONS; index++) {
              const session = await meter.openHttp2(setting(INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX));
              sessions.push(session);
              const increment = uint32(WINDOW_BYTES_MAX - DEFAULT_WINDOW_BYTES);
              session.write(frame(Frame.WINDOW_UPDATE, 0, 0, increment));
              await session.roundTrip();
              session.socket.pause();
              for (let id = 1; id < 2 * (CLIENTS / SESSIONS); id += 2)
                session.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, GET));
              await meter.settled([session.socket]);
            }
            for (let round = 0; round < 5; round++) await meter.roundTrip();
            for (const session of sessions) session.close();
          };
          expect(await meter.of(attack, `unread responses, HTTP/2 ${port}`)).toBeLessThan(
            OVERHEAD_BYTES + TOTAL_BYTES,
          );
        },
        PEAK_TIMEOUT_MS,
      );
    });

    itExtended(
      "stays within the budget of a connection for 1,000 Gets of 1 MiB in one flight, of which none may be sent",
      async () => {
        await start({});
        const attack = async (): Promise<void> => {
          const session = await meter.openHttp2(setting(INITIAL_WINDOW_SIZE, 0));
          session.write(
            ...Array.from({ length: GETS }, (_, index) =>
              frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1 + 2 * index, GET),
            ),
          );
          await session.answered(GETS);
          await session.roundTrip();
          session.close();
        };
        expect(await meter.of(attack, `window 0, 1,000 Gets of 1 MiB ${port}`)).toBeLessThan(
          OVERHEAD_BYTES + 128 * MEBIBYTE,
        );
      },
      PEAK_TIMEOUT_MS,
    );
  });
});
