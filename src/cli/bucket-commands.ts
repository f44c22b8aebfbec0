/** `bucket ls|create|info|update|compact|rm`. */
import { type Command, Option } from "commander";
import type { BucketInfo, BucketSettings } from "@ironflow-kv/client";
import { bucketJson } from "./json.js";
import { addClientOptions, type Session } from "./session.js";
import { formatTime, pairs, table } from "./text.js";
import { formatBytes, formatSeconds, parseBytes, parseCount, parseDurationMs } from "./units.js";

interface SettingFlags {
  readonly description?: string;
  readonly ttl?: number;
  readonly maxValueSize?: number;
  readonly maxBytes?: number;
  readonly history?: number;
}

/** Runs a verb in a new session. */
export type RunVerb = (command: Command, verb: (session: Session) => Promise<void>) => Promise<void>;

export function addBucketCommands(program: Command, run: RunVerb): void {
  const group = addClientOptions(
    program.command("bucket").description("create, inspect, update and delete buckets"),
  );

  addClientOptions(group.command("ls").alias("list").description("list the buckets")).action(
    (_flags: unknown, command: Command) =>
      run(command, async (session) => {
        const buckets = await session.kv.listBuckets(session.call);
        await session.print({ buckets: buckets.map(bucketJson), count: buckets.length }, () =>
          bucketTable(buckets),
        );
      }),
  );

  addClientOptions(
    program.command("environments").description("list the environments that have buckets"),
  ).action((_flags: unknown, command: Command) =>
    run(command, async (session) => {
      const environments = await session.kv.listEnvironments(session.call);
      await session.print({ environments }, () => environments);
    }),
  );

  withSettings(addClientOptions(group.command("create <name>").description("create a bucket"))).action(
    (name: string, flags: SettingFlags, command: Command) =>
      run(command, async (session) => {
        const info = await session.kv.createBucket({ name, ...settingsOf(flags) }, session.call);
        await session.print(bucketJson(info), () => bucketLines(info));
      }),
  );

  addClientOptions(group.command("info <name>").description("show the settings and size of a bucket")).action(
    (name: string, _flags: unknown, command: Command) =>
      run(command, async (session) => {
        const info = await session.kv.getBucketInfo(name, session.call);
        await session.print(bucketJson(info), () => bucketLines(info));
      }),
  );

  withSettings(
    addClientOptions(group.command("update <name>").description("change the given settings of a bucket")),
  ).action((name: string, flags: SettingFlags, command: Command) =>
    run(command, async (session) => {
      const settings = settingsOf(flags);
      if (Object.keys(settings).length === 0)
        command.error("error: no setting to change; set at least one, such as --ttl 1h");
      const info = await session.kv.updateBucket(name, settings, session.call);
      await session.print(bucketJson(info), () => bucketLines(info));
    }),
  );

  addClientOptions(
    group.command("compact <name>").description("remove the tombstones and history of deleted keys now"),
  ).action((name: string, _flags: unknown, command: Command) =>
    run(command, async (session) => {
      const removed = await session.kv.compactBucket(name, session.call);
      await session.print({ removed }, () => [`removed ${removed}`]);
    }),
  );

  addClientOptions(
    group.command("rm <name>").alias("delete").description("permanently delete a bucket and all its keys"),
  )
    .option("-y, --yes", "do not ask for confirmation")
    .action((name: string, flags: { yes?: boolean }, command: Command) =>
      run(command, async (session) => {
        await session.confirm(`Permanently delete the bucket ${name} and all its keys?`, flags.yes);
        await session.kv.deleteBucket(name, session.call);
        await session.print({ deleted: name }, () => (session.output.isTerminal ? [`deleted ${name}`] : []));
      }),
    );
}

function withSettings(command: Command): Command {
  return command
    .option("--description <text>", "free text")
    .addOption(
      new Option("--ttl <duration>", "how long entries live, such as 1h or 30m; 0: forever").argParser(
        parseDurationMs,
      ),
    )
    .addOption(
      new Option(
        "--max-value-size <size>",
        "the largest value, such as 64KiB; 0: the service's limit",
      ).argParser(parseBytes),
    )
    .addOption(
      new Option("--max-bytes <size>", "the most bytes to store, such as 10MB; 0: no limit").argParser(
        parseBytes,
      ),
    )
    .addOption(new Option("--history <count>", "revisions kept per key, 1 to 64").argParser(parseCount));
}

function settingsOf(flags: SettingFlags): BucketSettings {
  const { description, ttl, maxValueSize, maxBytes, history } = flags;
  return {
    ...(description === undefined ? {} : { description }),
    ...(ttl === undefined ? {} : { ttlSeconds: ttl / 1_000 }),
    ...(maxValueSize === undefined ? {} : { maxValueSize }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(history === undefined ? {} : { history }),
  };
}

function bucketTable(buckets: readonly BucketInfo[]): string[] {
  const header = ["NAME", "KEYS", "SIZE", "HISTORY", "TTL", "CREATED", "DESCRIPTION"];
  const rows = buckets.map((info) => [
    info.name,
    info.values,
    formatBytes(info.bytes),
    info.history,
    formatSeconds(info.ttlSeconds),
    formatTime(info.createdAt),
    info.description,
  ]);
  return table(header, rows);
}

function bucketLines(info: BucketInfo): string[] {
  const limit = (bytes: number): string => (bytes === 0 ? "-" : formatBytes(bytes));
  return pairs([
    ["name", info.name],
    ["description", info.description],
    ["keys", info.values],
    ["size", formatBytes(info.bytes)],
    ["history", info.history],
    ["ttl", formatSeconds(info.ttlSeconds)],
    ["max value size", limit(info.maxValueSize)],
    ["max bytes", limit(info.maxBytes)],
    ["revision", String(info.revision)],
    ["replicas", info.replicas],
    ["storage", info.storage],
    ["durability", info.durability],
    ["created", formatTime(info.createdAt)],
  ]);
}
