/** Texts of messages that the SDK receives. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { configureTextEncoding, getTextEncoding } from "@bufbuild/protobuf/wire";
import { expect, it } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { EntrySchema } from "../../gen/ironflow/kv/v1/types_pb.js";

it("keeps a byte order mark at the start of a key, which the library would remove", () => {
  const { encodeUtf8, checkUtf8 } = getTextEncoding();
  // The library's own, whatever other tests of this process have set.
  const decodeUtf8 = (text: Uint8Array): string => new TextDecoder().decode(text);
  configureTextEncoding({ encodeUtf8, checkUtf8, decodeUtf8 });
  const bytes = toBinary(EntrySchema, create(EntrySchema, { key: "\ufeffkey", contentType: "é" }));
  expect(fromBinary(EntrySchema, bytes).key).toBe("key");
  createClient({ serverUrl: "http://127.0.0.1:1" });
  expect(fromBinary(EntrySchema, bytes)).toMatchObject({ key: "\ufeffkey", contentType: "é" });
});
