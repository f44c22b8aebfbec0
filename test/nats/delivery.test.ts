/** The reply subject of a delivered message (ADR-15), in its short and long forms; and what is no such subject. */
import { describe, expect, it } from "vitest";
import { parseDelivery } from "../../src/nats/read/delivery.js";

const parse = (reply: string) => parseDelivery(Buffer.from(reply));
const DELIVERY = {
  streamSequence: 1_234_567_890_123,
  consumerSequence: 42,
  timeMs: 1_795_890_910_819,
  timeNanos: 123_456,
  pending: 7,
};
const NUMBERS = "1.1234567890123.42.1795890910819123456.7";

describe("the reply subject of a delivered message", () => {
  it.each([
    ["the short form", `$JS.ACK.KV_APP_x.watch-1.${NUMBERS}`],
    ["the form with a domain and an account", `$JS.ACK.hub.Acc0unt.KV_APP_x.watch-1.${NUMBERS}`],
    ["the form with a token at the end", `$JS.ACK._.Acc0unt.KV_APP_x.watch-1.${NUMBERS}.r4nd0m`],
    ["a form with more tokens", `$JS.ACK._.Acc0unt.KV_APP_x.watch-1.${NUMBERS}.r4nd0m.later`],
  ])("is read in %s", (_, reply) => {
    expect(parse(reply)).toEqual(DELIVERY);
  });

  it("may have no messages pending, and a time of a few nanoseconds", () => {
    const first = { streamSequence: 1, consumerSequence: 1, timeMs: 0, timeNanos: 5, pending: 0 };
    expect(parse("$JS.ACK.s.c.1.1.1.5.0")).toEqual(first);
  });

  it.each([
    ["an empty subject", ""],
    ["another subject", "_INBOX.abc.def"],
    ["flow control", "$JS.FC.KV_APP_x.watch-1.abc"],
    ["too few tokens", "$JS.ACK.s.c.1.1.1.5"],
    ["ten tokens, which no form has", "$JS.ACK.a.b.s.c.1.1.1.5"],
    ["no number where the sequence stands", "$JS.ACK.s.c.1.x.1.5.0"],
  ])("is not read from %s", (_, reply) => {
    expect(parse(reply)).toBeUndefined();
  });
});
