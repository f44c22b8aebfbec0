/** Which requests are simple. All others go to Node's parser, so strictness is safe, and leniency is not. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { headLengthOf, readSimpleHead } from "../../src/listener/http1/simple-request.js";

const HEAD = "GET /api/v1/kv/buckets/b/keys/k HTTP/1.1\r\nHost: x";

it("parses a head as Node does", () => {
  expect(
    readSimpleHead(`${HEAD}:9123\r\nIf-None-Match: \t"7" \r\nContent-Length: 0\r\nConnection: Keep-Alive`),
  ).toEqual({
    method: "GET",
    target: "/api/v1/kv/buckets/b/keys/k",
    headers: { host: "x:9123", "if-none-match": '"7"', "content-length": "0", connection: "Keep-Alive" },
    contentLength: 0,
  });
});

it("trims whitespace around values, and keeps it inside", () => {
  const blanks = fc.string({ unit: fc.constantFrom(" ", "\t"), maxLength: 5 });
  const words = fc.string({ unit: fc.constantFrom("a", "\xa0", " ", "\t"), maxLength: 20 });
  fc.assert(
    fc.property(blanks, words, blanks, (before, words, after) => {
      const value = readSimpleHead(`${HEAD}\r\nA:${before}${words}${after}`)?.headers.a;
      expect(value).toBe(words.replace(/^[\t ]+/, "").replace(/[\t ]+$/, ""));
    }),
  );
});

describe("is not simple:", () => {
  it.each([
    ["another method", "PATCH / HTTP/1.1\r\nHost: x"],
    ["another version", "GET / HTTP/1.0\r\nHost: x"],
    ["no version", "GET /"],
    ["a target that is not a path", "GET http://x/ HTTP/1.1\r\nHost: x"],
    ["a space in the target", "GET /a b HTTP/1.1\r\nHost: x"],
    ["two spaces", "GET  / HTTP/1.1\r\nHost: x"],
    ["no host", "GET / HTTP/1.1\r\nA: b"],
    ["two hosts", `${HEAD}\r\nhost: y`],
    ["two of any name", `${HEAD}\r\nAccept: a\r\naccept: b`],
    ["a line without a colon", `${HEAD}\r\nabc`],
    ["a name with a space", `${HEAD}\r\nA : b`],
    ["an empty name", `${HEAD}\r\n: b`],
    ["a folded line", `${HEAD}\r\nA: b\r\n c`],
    ["a bare line feed", `${HEAD}\r\nA: b\nC: d`],
    ["a bare carriage return", `${HEAD}\r\nA: b\rC: d`],
    ["a NUL", `${HEAD}\r\nA: b\0`],
    ["transfer-encoding", `${HEAD}\r\nTransfer-Encoding: chunked`],
    ["transfer-encoding in disguise", `${HEAD}\r\nTransfer-Encoding : chunked`],
    ["an upgrade", `${HEAD}\r\nUpgrade: websocket`],
    ["Connection: close", `${HEAD}\r\nConnection: close`],
    ["more connection options", `${HEAD}\r\nConnection: keep-alive, upgrade`],
    ["an expectation", `${HEAD}\r\nExpect: 100-continue`],
    ["an origin", `${HEAD}\r\nOrigin: https://a.example`],
    ["a length that is not a number", `${HEAD}\r\nContent-Length: +1`],
    ["a length with a leading zero", `${HEAD}\r\nContent-Length: 01`],
    ["two lengths", `${HEAD}\r\nContent-Length: 1, 1`],
    ["a GET with a body", `${HEAD}\r\nContent-Length: 5`],
  ])("%s", (_name, head) => {
    expect(readSimpleHead(head)).toBeUndefined();
  });

  it("an incomplete or long head", () => {
    expect(headLengthOf(Buffer.from(`${HEAD}\r\n`), 8_192)).toBeUndefined();
    expect(headLengthOf(Buffer.from(`${HEAD}\r\nA: ${"b".repeat(9_000)}\r\n\r\n`), 8_192)).toBeUndefined();
    expect(headLengthOf(Buffer.from(`${HEAD}\r\n\r\nbody`), 8_192)).toBe(HEAD.length + 4);
  });

  it("any head with a control character", () => {
    const controls = fc.constantFrom("\0", "\r", "\n", "\x0b", "\x1f", "\x7f");
    fc.assert(
      fc.property(fc.nat(HEAD.length), controls, (at, control) => {
        expect(readSimpleHead(HEAD.slice(0, at) + control + HEAD.slice(at))).toBeUndefined();
      }),
    );
  });
});
