import { expect, it } from "vitest";
import { Attached } from "../../src/kv/attached.js";

it("a value that is attached to an object belongs to that object and not to a copy", () => {
  const texts = new Attached<{ readonly revision: number }, string>();
  const others = new Attached<{ readonly revision: number }, string>();
  const owner = { revision: 7 };
  expect(texts.get(owner)).toBeUndefined();
  texts.set(owner, "seven");
  const copy = { ...owner };
  expect([texts.get(owner), texts.get(copy), others.get(owner)]).toEqual(["seven", undefined, undefined]);
  texts.set(copy, "again");
  expect([texts.get(owner), texts.get(copy)]).toEqual(["seven", "again"]);
  expect(JSON.stringify(owner)).toBe('{"revision":7}');
});
