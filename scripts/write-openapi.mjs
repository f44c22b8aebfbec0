// Generates web/openapi.json from the contract and its comments, which the generated code does not have. Run it after a build.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { openApiDocument } from "../dist/src/protocol/openapi/document.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const files = execFileSync(
  `${root}node_modules/.bin/buf`,
  ["build", "--as-file-descriptor-set", "--output", "-"],
  {
    cwd: root,
    maxBuffer: 64 << 20,
  },
);
const document = openApiDocument({
  files: fromBinary(FileDescriptorSetSchema, files),
  version,
  errors: readFileSync(`${root}docs/errors.md`, "utf8"),
});
writeFileSync(`${root}web/openapi.json`, `${JSON.stringify(document, null, 2)}\n`);
