/** One run of a client command: its options, its SDK client and its output. */
import { createInterface } from "node:readline/promises";
import { type Command, Option } from "commander";
import {
  type ApiKeys,
  type CallOptions,
  type Client,
  type ClientOptions,
  type Configs,
  createClient,
  type KeyValue,
} from "@ironflow-kv/client";
import { type CliIo, Output } from "./io.js";
import { type Colour, paint } from "./text.js";
import { parseTimeoutMs } from "./units.js";

interface ClientFlags {
  readonly server?: string;
  readonly apiKey?: string;
  readonly environment?: string;
  readonly timeout?: number;
  readonly json?: boolean;
  readonly color?: boolean;
}

export interface Session {
  readonly kv: KeyValue;
  readonly apiKeys: ApiKeys;
  readonly configs: Configs;
  readonly output: Output;
  readonly io: CliIo;
  /** Print JSON. */
  readonly json: boolean;
  /** Aborted by Ctrl-C, and when the reader of the output closes it. */
  readonly signal: AbortSignal;
  /** The options of every call. */
  readonly call: CallOptions;
  /** Colours text if colours are enabled. */
  paint(text: string, colour: Colour): string;
  /** Prints the value as one line of JSON with --json, otherwise the lines. */
  print(value: unknown, lines: () => readonly string[]): Promise<void>;
  /** Asks for confirmation on a terminal; throws NotConfirmedError unless the answer is yes. */
  confirm(question: string, isConfirmed: boolean | undefined): Promise<void>;
}

/** The user declined. */
export class NotConfirmedError extends Error {
  override readonly name = "NotConfirmedError";
}

/** Adds the options of every client command. They are also accepted before the command. */
export function addClientOptions(command: Command): Command {
  return command
    .option("-s, --server <url>", "the service (or IRONFLOW_SERVER; default http://localhost:9123)")
    .option(
      "--api-key <key>",
      "the API key; other users of this machine can see it on the command line: prefer IRONFLOW_API_KEY",
    )
    .option(
      "--environment <name>",
      "the environment, a namespace of buckets (or IRONFLOW_ENVIRONMENT; default: default)",
    )
    .addOption(
      new Option("--timeout <duration>", "the time limit of a call, such as 5s (default 10s)").argParser(
        parseTimeoutMs,
      ),
    )
    .option("--json", "print JSON, including errors")
    .option("--no-color", "no colours (or NO_COLOR)");
}

/** The options on the command line, without defaults. If one is given twice, the one after the command takes precedence. */
export function givenFlags(command: Command): ClientFlags {
  const given: Record<string, unknown> = {};
  for (let at: Command | null = command; at !== null; at = at.parent) {
    for (const [name, value] of Object.entries(at.opts())) {
      if (at.getOptionValueSource(name) !== "default") given[name] ??= value;
    }
  }
  return given;
}

/** Opens a session. A malformed server URL or API key is a usage error. */
export function openSession(command: Command, io: CliIo, output: Output): Session {
  const flags = givenFlags(command);
  const json = flags.json ?? false;
  const isColoured = output.isTerminal && flags.color !== false && (io.env.NO_COLOR ?? "") === "";
  const client = clientOf(command, {
    serverUrl: flags.server ?? emptyAsUndefined(io.env.IRONFLOW_SERVER),
    apiKey: flags.apiKey ?? io.env.IRONFLOW_API_KEY ?? "",
    environment: flags.environment ?? io.env.IRONFLOW_ENVIRONMENT ?? "",
    timeoutMs: flags.timeout,
  });
  const signal = io.signal === undefined ? output.closed : AbortSignal.any([io.signal, output.closed]);
  return {
    kv: client.kv(),
    apiKeys: client.apiKeys(),
    configs: client.configs(),
    output,
    io,
    json,
    signal,
    call: { signal },
    paint: (text, colour) => paint(text, colour, isColoured),
    async print(value, lines) {
      for (const line of json ? [JSON.stringify(value)] : lines()) await output.line(line);
    },
    async confirm(question, isConfirmed) {
      if (isConfirmed === true || io.stdin.isTTY !== true || io.stderr.isTTY !== true) return;
      const prompt = createInterface({ input: io.stdin, output: io.stderr });
      const answer = await prompt.question(`${question} [y/N] `, { signal: this.signal });
      prompt.close();
      if (!/^y(es)?$/i.test(answer.trim())) throw new NotConfirmedError("Nothing was changed.");
    },
  };
}

function clientOf(command: Command, options: ClientOptions): Client {
  try {
    return createClient(options);
  } catch (error) {
    return command.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function emptyAsUndefined(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
