/** The nats-server program of the tests: found as the service finds it. */
import { type ServerProgram, findProgram } from "../../src/nats/embedded/server-program.js";
import { isAtLeast } from "../../src/nats/client/server-version.js";

export const NATS_PROGRAM: ServerProgram = await findProgram({ serverBin: process.env.NATS_SERVER_BIN });

/**
 * Options for `describe` or `it`: skips it, with a sentence, where nats-server is older. `npm test` runs without Python and Go too, and
 * then has the old program of the npm package: `it("...", needsServer("2.15.1"), async () => { ... })`.
 */
export function needsServer(version: string): { readonly skip: boolean } {
  const skip = !isAtLeast(NATS_PROGRAM.version, version);
  if (skip) console.info(`Skipped: it needs nats-server ${version}; this is ${NATS_PROGRAM.version}.`);
  return { skip };
}
