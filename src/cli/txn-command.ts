/** `txn`: several operations together, or none of them, from a JSON document. */
import { createReadStream } from "node:fs";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import type { AtomicOperation } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { addClientOptions } from "./session.js";

const HELP = `
Reads a JSON list of operations from the file, or from standard input if it is - or missing. An operation is one of:
  {"check": "key", "revision": 7}                 the key's newest revision must be this one
  {"check": "key", "absent": true}                the key must have no value
  {"unchanged": "orders.*", "since": 12}          no key that matches changed after this revision of the bucket
  {"put": "key", "value": "text"}                 also "if_revision", "if_absent", "ttl_seconds", "content_type", "metadata"
  {"delete": "key"}, {"purge": "key"}             also "if_revision"
Prints the revision of each operation, 0 for a check. A condition that does not hold is exit code 4; nothing is written then.

Example:
  $ echo '[{"check":"stock","revision":7},{"put":"order","value":"1","if_absent":true}]' | ironflow-kv txn shop`;

type Json = Readonly<Record<string, unknown>>;

/** Adds an operation of this kind to the commit. */
type Kind = {
  readonly fields: readonly string[];
  readonly add: (commit: AtomicOperation, name: string, operation: Json) => void;
};

const KINDS: Readonly<Record<string, Kind>> = {
  check: {
    fields: ["revision", "absent"],
    add(commit, key, { revision, absent }) {
      if (absent === true && revision === undefined) commit.checkAbsent(key);
      else if (absent === undefined) commit.check(key, numberOf(revision, "revision"));
      else
        throw new TypeError(`The check of ${JSON.stringify(key)} needs either a revision or "absent": true.`);
    },
  },
  unchanged: {
    fields: ["since"],
    add: (commit, filter, { since }) => commit.checkUnchanged(filter, numberOf(since, "since")),
  },
  put: {
    fields: ["value", "if_revision", "if_absent", "ttl_seconds", "content_type", "metadata"],
    add(commit, key, { value, if_revision, if_absent, ttl_seconds, content_type, metadata }) {
      if (typeof value !== "string")
        throw new TypeError(`The value of ${JSON.stringify(key)} is missing or no text.`);
      commit.put(key, value, {
        ...(if_revision === undefined ? {} : { ifRevision: numberOf(if_revision, "if_revision") }),
        ...(ttl_seconds === undefined ? {} : { ttlSeconds: numberOf(ttl_seconds, "ttl_seconds") }),
        ...(if_absent === true ? { ifAbsent: true } : {}),
        ...(typeof content_type === "string" ? { contentType: content_type } : {}),
        ...(metadata === undefined ? {} : { metadata: textsOf(metadata) }),
      });
    },
  },
  delete: { fields: ["if_revision"], add: (commit, key, json) => commit.delete(key, conditionOf(json)) },
  purge: { fields: ["if_revision"], add: (commit, key, json) => commit.purge(key, conditionOf(json)) },
};

export function addTxnCommand(program: Command, run: RunVerb): void {
  addClientOptions(
    program
      .command("txn <bucket> [file]")
      .description("apply several checks, puts and deletes together, or none of them"),
  )
    .addHelpText("after", HELP)
    .action((bucket: string, file: string | undefined, _flags: unknown, command: Command) =>
      run(command, async (session) => {
        const isInput = file === undefined || file === "-";
        if (file === undefined && session.io.stdin.isTTY === true)
          command.error("error: the operations are missing; name a file, or - for standard input");
        const source = await text(isInput ? session.io.stdin : createReadStream(file));
        const commit = session.kv.bucket(bucket).atomic();
        try {
          for (const operation of operationsOf(source)) add(commit, operation);
        } catch (error) {
          command.error(`error: ${error instanceof Error ? error.message : String(error)}`);
        }
        const { revision, revisions } = await commit.commit(session.call);
        const json = { revision: Number(revision), revisions: revisions.map(Number) };
        await session.print(json, () => revisions.map(String));
      }),
    );
}

function operationsOf(source: string): readonly Json[] {
  let list: unknown;
  try {
    list = JSON.parse(source);
  } catch (error) {
    const problem = error instanceof Error ? error.message : "malformed";
    throw new TypeError(`The operations are not JSON: ${problem}.`, { cause: error });
  }
  if (!Array.isArray(list) || !list.every(isObject))
    throw new TypeError("The operations are not a JSON list of objects.");
  return list;
}

function add(commit: AtomicOperation, operation: Json): void {
  const names = Object.keys(operation);
  const [kindName = "", ...others] = names.filter((name) => Object.hasOwn(KINDS, name));
  const kind = KINDS[kindName];
  const shown = JSON.stringify(operation).slice(0, 200);
  if (kind === undefined || others.length > 0)
    throw new TypeError(`The operation ${shown} needs exactly one of ${Object.keys(KINDS).join(", ")}.`);
  const unknown = names.find((name) => name !== kindName && !kind.fields.includes(name));
  if (unknown !== undefined)
    throw new TypeError(`The operation ${shown} has "${unknown}"; it takes ${kind.fields.join(", ")}.`);
  const target = operation[kindName];
  if (typeof target !== "string") throw new TypeError(`The "${kindName}" of ${shown} is no text.`);
  kind.add(commit, target, operation);
}

function conditionOf({ if_revision }: Json): { ifRevision?: number } {
  return if_revision === undefined ? {} : { ifRevision: numberOf(if_revision, "if_revision") };
}

function numberOf(value: unknown, name: string): number {
  if (typeof value === "number") return value;
  throw new TypeError(
    `"${name}" is ${value === undefined ? "missing" : JSON.stringify(value)}; it must be a number.`,
  );
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  if (isObject(value) && Object.values(value).every((one) => typeof one === "string"))
    return value as Readonly<Record<string, string>>;
  throw new TypeError('"metadata" is no object of texts.');
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
