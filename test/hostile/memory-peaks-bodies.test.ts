/**
 * The peak of the resident memory while the bodies of many requests arrive, and none is complete. What remains afterwards is in
 * `aftermath.test.ts`.
 */
import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { END_HEADERS, Frame, frame } from "../../packages/http2/test/raw-session.js";
import { hasOpenssl } from "../support/certificates.js";
import { IS_EXTENDED, unlessExtended } from "../support/extended.js";
import {
  BUCKETS,
  describePeaks,
  KEY_VALUE_SERVICE,
  MEBIBYTE,
  OVERHEAD_BYTES,
  PEAK_TIMEOUT_MS,
  PeakMeter,
  requestHead,
  TOTAL_BYTES,
} from "./peaks.js";

const KEY = "a-key-that-only-the-operator-has";
const BODY_BYTES = 1_040_000;
/** More than the budgets allow; the attack that was found had 1,000. */
const UPLOADS = 400;
const PIECE_BYTES = 16_000;
/** What the Connect library, which decompresses a message as a whole, may need beyond the usual overhead. */
const STOCK_OVERHEAD_BYTES = 64 * MEBIBYTE;
/** INCOMPLETE_REQUEST_BYTES_MAX. */
const CONNECTION_BYTES = 128 * MEBIBYTE;
const PUT_PATH = `${BUCKETS}/b/keys/k`;
const PUT_1 = `PUT ${PUT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${BODY_BYTES}\r\n`;
const POST_1 = PUT_1.replace(`PUT ${PUT_PATH}`, `POST ${KEY_VALUE_SERVICE}/Put`);

type Door = readonly [name: string, path: string, fields: Readonly<Record<string, string>>];
const DOORS: readonly Door[] = [
  ["REST, a value", PUT_PATH, {}],
  ["gRPC", `${KEY_VALUE_SERVICE}/Put`, { "content-type": "application/grpc", te: "trailers" }],
  [
    "compressed gRPC, on the stock adapter",
    `${KEY_VALUE_SERVICE}/Put`,
    { "content-type": "application/grpc", "grpc-encoding": "gzip", te: "trailers" },
  ],
  ["gRPC-Web", `${KEY_VALUE_SERVICE}/Put`, { "content-type": "application/grpc-web+proto" }],
  ["Connect", `${KEY_VALUE_SERVICE}/Put`, { "content-type": "application/proto" }],
  ["an import", "/ironflow.kv.v1.BackupService/ImportEntries", { "content-type": "application/grpc" }],
];

/** Each attack takes seconds of CPU time: `npm test` makes those that differ most. */
const DOORS_WITHOUT_KEY = unlessExtended(DOORS, 1);
const DOORS_WITHIN_BUDGET = unlessExtended(DOORS.slice(0, 3), 1);
const HTTP1_DOORS = [
  ["REST", `${PUT_1}\r\n`],
  ["Connect", `${POST_1}Content-Type: application/proto\r\n\r\n`],
] as const;
const TOTAL = { "total-incomplete-request-bytes-max": String(TOTAL_BYTES) };

describePeaks("the peak of the resident memory", () => {
  let meter: PeakMeter;
  afterEach(() => meter.remove());

  /** Opens streams on one connection, and sends a body on each that never ends. */
  async function floodHttp2([, path, fields]: Door, streams = UPLOADS): Promise<void> {
    const session = await meter.openHttp2();
    const isOpen = (): boolean => !session.isClosed;
    const head = requestHead(path === PUT_PATH ? "PUT" : "POST", path, fields);
    const isEnveloped = fields["content-type"]?.startsWith("application/grpc") === true;
    const piece = frame(Frame.DATA, 0, 1, Buffer.alloc(PIECE_BYTES, isEnveloped ? 0 : "x"));
    for (let index = 0; index < streams && isOpen(); index++)
      session.write(frame(Frame.HEADERS, END_HEADERS, 1 + 2 * index, head));
    await session.roundTrip();
    for (let sent = 0; sent < BODY_BYTES && isOpen(); sent += PIECE_BYTES) {
      for (let index = 0; index < streams && isOpen(); index++) {
        const isFirst = sent === 0 && isEnveloped;
        piece.writeUInt32BE(1 + 2 * index, 5);
        // The length of one long message.
        piece.writeUInt32BE(isFirst ? BODY_BYTES : 0, 10);
        if (!session.write(Buffer.from(piece))) await session.drained();
      }
    }
    await session.roundTrip();
    session.close();
  }

  /** Sends the head of a request and all of its body but the last byte, on a connection each. */
  async function floodHttp1(head: string): Promise<void> {
    const sockets: Socket[] = [];
    for (let index = 0; index < UPLOADS; index++) {
      const socket = await meter.openHttp1();
      sockets.push(socket.resume());
      socket.write(head);
      socket.write(Buffer.alloc(BODY_BYTES - 1, "x"));
      if (index % 50 === 49) await meter.settled(sockets);
    }
    await meter.settled(sockets);
    for (const socket of sockets) socket.destroy();
  }

  const floodSix = (): Promise<unknown> =>
    Promise.all(Array.from({ length: 6 }, () => floodHttp2(["REST", PUT_PATH, {}], 80)));

  it.each(DOORS_WITHOUT_KEY)(
    "hardly rises for bodies without a key over %s",
    async (...door) => {
      meter = await PeakMeter.start({ "api-key": KEY });
      expect(await meter.of(() => floodHttp2(door), `no key, ${door[0]}, HTTP/2`)).toBeLessThan(
        OVERHEAD_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it.each(unlessExtended(HTTP1_DOORS, 1))(
    "hardly rises for bodies without a key over %s and HTTP/1.1",
    async (name, head) => {
      meter = await PeakMeter.start({ "api-key": KEY });
      expect(await meter.of(() => floodHttp1(head), `no key, ${name}, HTTP/1.1`)).toBeLessThan(
        OVERHEAD_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it.each(DOORS_WITHIN_BUDGET)(
    "stays within the budget for incomplete bodies over %s",
    async (...door) => {
      meter = await PeakMeter.start();
      const overhead = OVERHEAD_BYTES + (door[0].includes("stock adapter") ? STOCK_OVERHEAD_BYTES : 0);
      expect(await meter.of(() => floodHttp2(door), `allowed, ${door[0]}, HTTP/2`)).toBeLessThan(
        overhead + CONNECTION_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budget of all connections for incomplete bodies on six of them",
    async () => {
      meter = await PeakMeter.start(TOTAL);
      expect(await meter.of(floodSix, "allowed, six connections, HTTP/2")).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it.runIf(IS_EXTENDED)(
    "stays within the budget of all connections for incomplete bodies over HTTP/1.1",
    async () => {
      meter = await PeakMeter.start(TOTAL);
      expect(await meter.of(() => floodHttp1(`${PUT_1}\r\n`), "allowed, HTTP/1.1")).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  describe.runIf(hasOpenssl && IS_EXTENDED)("over TLS, without the fast path of HTTP/1.1", () => {
    const attacks: readonly (readonly [string, () => Promise<unknown>])[] = [
      ["HTTP/2", floodSix],
      ["HTTP/1.1", () => floodHttp1(`${PUT_1}\r\n`)],
    ];
    it.each(attacks)(
      "stays within the budget of all connections for incomplete bodies over %s",
      async (name, attack) => {
        meter = await PeakMeter.startTls({ ...TOTAL, "fast-path": "false" });
        expect(await meter.of(attack, `allowed, ${name} over TLS`)).toBeLessThan(
          OVERHEAD_BYTES + TOTAL_BYTES,
        );
      },
      PEAK_TIMEOUT_MS,
    );
  });
});
