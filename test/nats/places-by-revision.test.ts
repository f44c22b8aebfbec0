/** Values of a pass are found by their revisions, in whatever order they arrive and however large the revisions are. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { PlacesByRevision } from "../../src/nats/read/places-by-revision.js";

const small = fc.integer({ min: 1, max: 200 });
/** So far apart that a revision and a place do not fit into one number. */
const large = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

it("finds the place of each revision, and none of others", () => {
  const revisions = fc.oneof(
    fc.uniqueArray(small, { maxLength: 100 }),
    fc.uniqueArray(large, { maxLength: 100 }),
  );
  fc.assert(
    fc.property(revisions, fc.array(fc.oneof(small, large), { maxLength: 50 }), (wanted, others) => {
      const places = new PlacesByRevision(wanted.map((revision) => ({ revision })));
      expect([...places.revisions]).toEqual([...wanted].sort((left, right) => left - right));
      for (const revision of [...wanted, ...others, ...wanted.toReversed(), ...places.revisions])
        expect(places.of(revision)).toBe(wanted.indexOf(revision));
    }),
    { numRuns: 300 },
  );
});
