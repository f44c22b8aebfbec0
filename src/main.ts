#!/usr/bin/env node
/** The command `ironflow-kv`: parses the command line, runs it and exits. */
import { buildProgram } from "./cli/program.js";
import { ALL_SETTINGS } from "./config/config.js";
import { flagOf } from "./config/setting.js";
import { serve } from "./serve.js";
import { packageVersion } from "./version.js";

const isServing = process.argv[2] === "serve";
const interrupted = new AbortController();
if (!isServing) process.once("SIGINT", () => interrupted.abort());

const program = buildProgram({
  serve: (flags) => serve(flags, process),
  settings: ALL_SETTINGS,
  flagOf,
  version: packageVersion(),
  io: {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: interrupted.signal,
  },
});
process.exitCode = await program.run(process.argv.slice(2));
// Exit even if a fault left handles open.
if (isServing) process.exit();
