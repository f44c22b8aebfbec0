/** The parser of received messages passes on what the library's own parser does, however the bytes arrive. */
import { connect as stockConnect, Parser } from "@nats-io/transport-node";
import fc from "fast-check";
import { expect } from "vitest";
import { type Frame, frameOf, listenToFrames, readFrames } from "../../src/nats/client/frames.js";
import { storeTest } from "../support/fixtures.js";

const it = storeTest();

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with its object below
const libraryParse = Parser.prototype.parse;
readFrames();
// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with its object below
const ourParse = Parser.prototype.parse;

/** What a parser passes on, as text. */
function eventsOf(parse: (this: Parser, received: Uint8Array) => void, reads: readonly Buffer[]): string[] {
  const events: string[] = [];
  const text = (bytes: Uint8Array | undefined): string | undefined =>
    bytes === undefined ? undefined : Buffer.from(bytes).toString("latin1");
  const parser = new Parser({
    push: (event) => {
      if (typeof event === "function") return;
      const { kind, msg, data } = event;
      const { subject, reply, sid, hdr, size } = msg ?? {};
      events.push(JSON.stringify([kind, text(subject), text(reply), sid, hdr, size, text(data)]));
    },
  });
  try {
    for (const read of reads) parse.call(parser, Buffer.from(read));
  } catch (error) {
    events.push(String(error).replace(/:.*/s, ""));
  }
  return events;
}

const subject = fc.stringMatching(/^[a-z$]{1,9}(\.[a-zA-Z0-9=]{1,12}){0,3}$/);
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constant(Buffer.from("\r\nMSG a 1 2\r\nHMSG ")),
  fc.uint8Array({ minLength: 3_000, maxLength: 3_000 }),
);
const message = fc
  .record({
    ...{ subject, payload, reply: fc.option(subject), sid: fc.integer({ min: 1, max: 120 }) },
    header: fc.option(fc.constantFrom("NATS/1.0\r\n\r\n", "NATS/1.0 404 No Messages\r\n\r\n")),
  })
  .map(({ subject, payload, reply, sid, header }) => {
    const bytes = Buffer.concat([Buffer.from(header ?? ""), payload]);
    const sizes = header === null ? [bytes.length] : [header.length, bytes.length];
    const line = [
      header === null ? "MSG" : "HMSG",
      subject,
      sid,
      ...(reply === null ? [] : [reply]),
      ...sizes,
    ];
    return Buffer.concat([Buffer.from(`${line.join(" ")}\r\n`), bytes, Buffer.from("\r\n")]);
  });
const other = fc.constantFrom(
  "PING\r\n",
  "PONG\r\n",
  "+OK\r\n",
  "-ERR 'Slow'\r\n",
  'INFO {"a":1}\r\n',
  "MSG  a  1  0\r\n\r\n",
);
const operation = fc.oneof(
  { weight: 4, arbitrary: message },
  { weight: 1, arbitrary: other.map((text) => Buffer.from(text)) },
);

/** Cuts the bytes into pieces of these lengths, again and again. */
function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const length = lengths[piece % lengths.length] ?? bytes.length;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

it("passes on the same messages and other operations as the library's parser, whole and in any pieces", () => {
  const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 50, max: 5_000 })), {
    minLength: 1,
    maxLength: 5,
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 12 }), lengths, (operations, pieces) => {
      const reads = cut(Buffer.concat(operations), pieces);
      expect(eventsOf(ourParse, reads)).toEqual(eventsOf(libraryParse, reads));
    }),
  );
});

it.each([
  "MSG a x 2\r\nhi\r\n",
  "MSG a 1 -2\r\nhi\r\n",
  "HMSG a 1 9 2\r\nhi\r\n",
  "MSG a 1\r\n\r\n",
  "MSG a 1 b c d 2\r\nhi\r\n",
  "NSG a 1 2\r\nhi\r\n",
])("fails where the library's parser does: %j", (text) => {
  const reads = [Buffer.from(`MSG a 1 2\r\nhi\r\n${text}`)];
  const events = eventsOf(ourParse, reads);
  expect(events).toEqual(eventsOf(libraryParse, reads));
  expect(events.at(-1)).toContain("Error");
});

it("passes each message of a subscription once, as a frame or to its callback", async ({ server }) => {
  const nats = await stockConnect({ servers: server.url });
  const seen: string[] = [];
  const note = ({ bytes, ...at }: Frame): void => {
    const text = (start: number, end: number): string =>
      Buffer.from(bytes.subarray(start, end)).toString("latin1");
    const payload = text(at.payloadStart + at.headerBytes, at.payloadEnd);
    seen.push(
      `${text(at.subjectStart, at.subjectEnd)} ${text(at.replyStart, at.replyEnd)} ${payload.length}`,
    );
  };
  const subscription = nats.subscribe("frames.*", {
    callback: (_, received) => {
      note(frameOf(received));
    },
  });
  listenToFrames(nats, subscription, note);
  const expected: string[] = [];
  for (let index = 0; index < 40; index++) {
    const size = index % 8 === 0 ? 200_000 : index;
    nats.publish(`frames.${index}`, new Uint8Array(size), { reply: `to.${index}` });
    expected.push(`frames.${index} to.${index} ${size}`);
  }
  await nats.flush();
  expect(seen).toEqual(expected);
  subscription.unsubscribe();
  nats.publish("frames.late", new Uint8Array(1));
  await nats.flush();
  expect(seen).toEqual(expected);
  await nats.close();
});
