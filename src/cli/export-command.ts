/** `export`: writes buckets to a file or standard output. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { Writable } from "node:stream";
import type { Command } from "commander";
import { exportBuckets } from "../backup/export.js";
import { FIRST_LINE } from "../backup/format.js";
import { Ledger } from "../backup/ledger.js";
import { headerFrame } from "../backup/records.js";
import { BackupRefusedError } from "../backup/refused.js";
import { createFile, type OpenSink, partialName, resumeFile, StreamSink } from "../backup/sink.js";
import { BackupWriter } from "../backup/writer.js";
import type { BucketInfo } from "@ironflow-kv/client";
import { startProgress } from "./progress.js";
import type { Session } from "./session.js";
import { shellWord, stopped } from "./stopped.js";
import { countOf } from "./text.js";
import { formatBytes } from "./units.js";

export interface ExportFlags {
  readonly output: string;
  readonly gzip?: boolean;
  readonly resume?: boolean;
  readonly force?: boolean;
}

const STANDARD_OUTPUT = "-";

export async function runExport(
  session: Session,
  command: Command,
  buckets: readonly string[],
  flags: ExportFlags,
): Promise<void> {
  const { output } = flags;
  const isStream = output === STANDARD_OUTPUT;
  if (isStream && flags.resume === true) command.error("error: --resume needs a file as --output");
  if (isStream && session.output.isTerminal) {
    command.error("error: a backup is binary; write it to a file, or redirect standard output");
  }
  const names = [...new Set(buckets)];
  // Fail before creating a file if the service or a bucket is missing.
  const infos = await bucketsOf(session, names);
  const { sink, ledger } = await openSink(session, flags);
  const writer = new BackupWriter(sink, ledger);
  try {
    if (ledger.header === undefined) {
      await writer.put(
        headerFrame(
          randomBytes(16).toString("hex"),
          infos.map(({ name }) => name),
        ),
      );
    } else if (names.length > 0 && names.join() !== ledger.header.buckets.join()) {
      throw new BackupRefusedError(
        `The interrupted export has other buckets: ${ledger.header.buckets.join(", ")}.`,
      );
    }
    await copy(session, writer, infos);
    await writer.commit();
  } catch (error) {
    // Even if this fails, for example on a full disk, the file is valid up to its last complete record.
    await writer.suspend().catch(() => undefined);
    if (isStream) throw error;
    const again = ["ironflow-kv export", ...names.map(shellWord), "--output", shellWord(output), "--resume"];
    throw stopped(session, error, `The data read so far is kept; resume with: ${again.join(" ")}`);
  }
  const result = {
    file: output,
    buckets: ledger.sections.length,
    entries: ledger.entries,
    bytes: ledger.bytes,
  };
  const sentence = `exported ${countOf(result.buckets, "bucket")}, ${countOf(result.entries, "entry", "entries")}, ${formatBytes(result.bytes)}`;
  // Standard output has the backup, so report on standard error.
  if (isStream)
    session.io.stderr.write(session.json ? `${JSON.stringify(result)}\n` : `ironflow-kv: ${sentence}\n`);
  else await session.print(result, () => [`${sentence} to ${output}`]);
}

async function bucketsOf(session: Session, names: readonly string[]): Promise<BucketInfo[]> {
  if (names.length === 0) return await session.kv.listBuckets(session.call);
  return await Promise.all(names.map((name) => session.kv.getBucketInfo(name, session.call)));
}

async function openSink(session: Session, flags: ExportFlags): Promise<OpenSink> {
  const { output } = flags;
  const isCompressed = flags.gzip ?? output.endsWith(".gz");
  if (output === STANDARD_OUTPUT) {
    const sink = new StreamSink(standardOutput(session), isCompressed);
    await sink.write(FIRST_LINE);
    return { sink, ledger: new Ledger() };
  }
  if (flags.force !== true && existsSync(output)) {
    throw new BackupRefusedError(
      `The file ${output} exists; choose another name, or add --force to replace it.`,
    );
  }
  if (!existsSync(partialName(output)) || flags.force === true) return await createFile(output, isCompressed);
  if (flags.resume !== true) {
    throw new BackupRefusedError(
      `An earlier export to ${output} was interrupted; add --resume to continue it, or --force to start over.`,
    );
  }
  return await resumeFile(output, isCompressed);
}

async function copy(session: Session, writer: BackupWriter, infos: readonly BucketInfo[]): Promise<void> {
  const { ledger } = writer;
  const progress = await startProgress(session, "export");
  const totalBytes = infos.reduce((sum, { bytes }) => sum + bytes, 1);
  let doneBytes = 0;
  let bucket: BucketInfo | undefined;
  let first = 0n;
  try {
    await exportBuckets(session.kv, writer, {
      signal: session.signal,
      onBucket(info) {
        doneBytes += bucket?.bytes ?? 0;
        bucket = info;
        first = 0n;
      },
      onEntry({ revision }) {
        if (first === 0n) first = revision;
        // The revision shows the progress within this bucket.
        const span = Number((bucket?.revision ?? revision) - first) + 1;
        const part = Math.min(Number(revision - first) / span, 1) * (bucket?.bytes ?? 0);
        progress.update(
          Math.min((doneBytes + part) / totalBytes, 1),
          () =>
            `${bucket?.name ?? ""}: ${countOf(ledger.entries, "entry", "entries")}, ${formatBytes(ledger.bytes)}`,
        );
      },
    });
  } finally {
    progress.stop();
  }
}

/** Standard output as a stream. */
function standardOutput({ output }: Session): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      output.write(chunk).then(() => done(), done);
    },
  });
}
