/** Enveloped request bodies on their way to the Connect library. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limitedBody } from "../../src/protocol/limited-body.js";
import { messageTooLarge } from "../../src/service/errors.js";

const BYTES_MAX = 64;
const LIMIT = { bytesMax: BYTES_MAX, tooLarge: () => messageTooLarge(BYTES_MAX) };

/** A message after its flags and length (https://connectrpc.com/docs/protocol#streaming-request). */
function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

async function* inChunks(bytes: Buffer, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const length of lengths) {
    if (at >= bytes.length) return;
    yield await Promise.resolve(bytes.subarray(at, (at += length)));
  }
  if (at < bytes.length) yield bytes.subarray(at);
}

const messages = fc.array(fc.uint8Array({ maxLength: BYTES_MAX }), { maxLength: 8 });
const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 40 });

describe("a body with envelopes", () => {
  it("is passed on unchanged, at most once for each message, however it arrives", () =>
    fc.assert(
      fc.asyncProperty(messages, lengths, async (sent, chunks) => {
        const bytes = Buffer.concat(sent.map(enveloped));
        const passedOn: Uint8Array[] = [];
        for await (const part of limitedBody(inChunks(bytes, chunks), true, LIMIT)) passedOn.push(part);
        expect(Buffer.concat(passedOn).equals(bytes)).toBe(true);
        expect(passedOn.length).toBeLessThanOrEqual(sent.length);
      }),
    ));

  it("fails at the first message that is too large, after those before it", () =>
    fc.assert(
      fc.asyncProperty(messages, lengths, async (sent, chunks) => {
        const before = Buffer.concat(sent.map(enveloped));
        const bytes = Buffer.concat([before, enveloped(Buffer.alloc(BYTES_MAX + 1))]);
        const passedOn: Uint8Array[] = [];
        const read = async (): Promise<void> => {
          for await (const part of limitedBody(inChunks(bytes, chunks), true, LIMIT)) passedOn.push(part);
        };
        await expect(read()).rejects.toThrow(LIMIT.tooLarge().message);
        expect(Buffer.concat(passedOn).subarray(0, before.length).equals(before)).toBe(true);
      }),
    ));
});
