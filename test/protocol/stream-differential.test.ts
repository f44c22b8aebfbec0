/** The streaming path answers as the stock adapter does: the same calls, well-formed and not, sent to both. */
import fc from "fast-check";
import { expect } from "vitest";
import { bothPathsTest as it, seed } from "./both-paths-test.js";
import { withBinaryBody } from "./raw-client.js";
import { streamRequest } from "./stream-requests.js";
import { runs } from "../support/extended.js";

it("answers streaming calls as the stock adapter does", async ({ fast, sendToBoth }) => {
  await fc.assert(
    fc.asyncProperty(streamRequest, async (request) => {
      const [answer, expected] = await sendToBoth(request);
      expect(withBinaryBody(answer)).toEqual(withBinaryBody(expected));
    }),
    { numRuns: runs(400), seed },
  );
  // Most of them came the fast way; else nothing was compared.
  expect(fast.taken).toBeGreaterThan(runs(150));
});
