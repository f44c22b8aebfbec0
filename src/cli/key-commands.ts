/** `key list|create|revoke|rotate`. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Access, ApiKeyInfo, ApiKeyScope, NewApiKey } from "@ironflow-kv/client";
import type { RunVerb } from "./bucket-commands.js";
import { addClientOptions, type Session } from "./session.js";
import { formatTime, pairs, table } from "./text.js";
import { parseDurationMs } from "./units.js";

const ACCESSES: readonly Access[] = ["read", "write", "watch", "admin"];

export function addKeyCommands(program: Command, run: RunVerb): void {
  const group = addClientOptions(
    program.command("key").description("create, list, rotate and revoke API keys"),
  );

  addClientOptions(group.command("list").alias("ls").description("list the API keys")).action(
    (_flags: unknown, command: Command) =>
      run(command, async (session) => {
        const keys = await session.apiKeys.list(session.call);
        await session.print({ api_keys: keys.map(keyJson), count: keys.length }, () => keyTable(keys));
      }),
  );

  addClientOptions(
    group.command("create").description("create an API key and print its secret, which is not shown again"),
  )
    .requiredOption("-n, --name <text>", "free text")
    .addOption(
      new Option("--scope <scope>", "what the key may do, such as read,write:sessions-*; repeatable")
        .argParser(parseScope)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option(
        "--expires <duration>",
        "how long the key is valid, such as 30d; default: forever",
      ).argParser(parseDurationMs),
    )
    .action((flags: { name: string; scope: readonly ApiKeyScope[]; expires?: number }, command: Command) =>
      run(command, async (session) => {
        const options = {
          name: flags.name,
          scopes: flags.scope,
          expiresInSeconds: (flags.expires ?? 0) / 1_000,
        };
        await printSecret(session, await session.apiKeys.create(options, session.call));
      }),
    );

  addClientOptions(
    group.command("revoke <id>").alias("rm").description("permanently revoke an API key and end its watches"),
  ).action((id: string, _flags: unknown, command: Command) =>
    run(command, async (session) => {
      await session.apiKeys.revoke(id, session.call);
      await session.print({ revoked: id }, () => (session.output.isTerminal ? [`revoked ${id}`] : []));
    }),
  );

  addClientOptions(
    group
      .command("rotate <id>")
      .description("replace the secret of an API key and print the new one, which is not shown again"),
  )
    .addOption(
      new Option(
        "--overlap <duration>",
        "how long the old secret stays valid, such as 1h; default: not at all",
      ).argParser(parseDurationMs),
    )
    .action((id: string, flags: { overlap?: number }, command: Command) =>
      run(command, async (session) => {
        const options = { overlapSeconds: (flags.overlap ?? 0) / 1_000 };
        await printSecret(session, await session.apiKeys.rotate(id, options, session.call));
      }),
    );
}

/** `read,write:sessions-*`: kinds of access, and the buckets. Appends to the scopes given before it. */
function parseScope(text: string, before: readonly ApiKeyScope[] | undefined): readonly ApiKeyScope[] {
  const at = text.indexOf(":");
  const accesses = text.slice(0, Math.max(0, at)).split(",");
  if (at < 0 || at === text.length - 1 || !accesses.every(isAccess)) {
    throw new InvalidArgumentError(
      `Expected ACCESS,...:BUCKETS with ${ACCESSES.join(", ")}, such as read,write:sessions-* or admin:*.`,
    );
  }
  return [...(before ?? []), { accesses, buckets: text.slice(at + 1) }];
}

function isAccess(text: string): text is Access {
  return ACCESSES.some((access) => access === text);
}

/** Prints the bare secret to a pipe, and the key's details too on a terminal. */
async function printSecret(session: Session, key: NewApiKey): Promise<void> {
  await session.print({ ...keyJson(key), secret: key.secret }, () =>
    session.output.isTerminal ? [...keyLines(key), "", key.secret] : [key.secret],
  );
}

function keyJson(key: ApiKeyInfo): Readonly<Record<string, unknown>> {
  return {
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    created_at: key.createdAt.toISOString(),
    expires_at: key.expiresAt?.toISOString(),
    rotated_at: key.rotatedAt?.toISOString(),
    previous_secret_expires_at: key.previousSecretExpiresAt?.toISOString(),
  };
}

function keyTable(keys: readonly ApiKeyInfo[]): string[] {
  const rows = keys.map((key) => [
    key.id,
    scopesText(key),
    formatTime(key.createdAt),
    expiryText(key),
    key.name,
  ]);
  return table(["ID", "SCOPES", "CREATED", "EXPIRES", "NAME"], rows);
}

function keyLines(key: ApiKeyInfo): string[] {
  return pairs([
    ["id", key.id],
    ["name", key.name],
    ["scopes", scopesText(key)],
    ["expires", expiryText(key)],
  ]);
}

function scopesText({ scopes }: ApiKeyInfo): string {
  return scopes.map(({ accesses, buckets }) => `${accesses.join(",")}:${buckets}`).join(" ");
}

function expiryText({ expiresAt }: ApiKeyInfo): string {
  return expiresAt === undefined ? "-" : formatTime(expiresAt);
}
