/** A request over HTTP/2 with a Host that differs from :authority could be read in two ways (RFC 9113 section 8.3.1). */
import { expect } from "vitest";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  RawSession,
} from "../../packages/http2/test/raw-session.js";
import { serviceTest } from "../support/fixtures.js";

const PROTOCOL_ERROR = 1;
const HEALTH = { ":method": "GET", ":scheme": "http", ":authority": "localhost", ":path": "/healthz" };

const it = serviceTest();

it.for(["own", "node"])(
  "is refused, and its connection stays open, with HTTP2=%s",
  async (http2, { startService }) => {
    const service = await startService({ http2 });
    const session = await RawSession.open(service.port);
    const request = (id: number, host: string): void =>
      void session.write(
        frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, headerBlock({ ...HEALTH, host })),
      );
    request(1, "other");
    const reset = await session.until(({ streamId, type }) => streamId === 1 && type === Frame.RST_STREAM);
    expect(reset?.payload.readUInt32BE(0)).toBe(PROTOCOL_ERROR);
    request(3, "localhost");
    const answer = await session.until(({ streamId, type }) => streamId === 3 && type === Frame.HEADERS);
    expect(answer).toBeDefined();
    session.close();
  },
);
